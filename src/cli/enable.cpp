// SPDX-License-Identifier: LGPL-2.1-or-later
//
// The verbs enable and disable: the attribute `enabled` of a definition that stays.

#include <algorithm>

#include "cli/added.h"
#include "cli/definitions_meant.h"
#include "cli/output.h"
#include "cli/scope.h"
#include "cli/shown.h"
#include "cli/verb.h"
#include "client/json.h"
#include "core/definition_xml.h"

namespace vf {
namespace {

// Whether the next start brings the definition, and the other way round.
bool turns_back(const FoundDomain& found, const std::string& definition, bool enabled) {
  const auto config = read_metadata(*found.daemon, found.path, {.config = true});
  return config && std::ranges::any_of(config->definitions.forwards, [&](const auto& forward) {
           return forward.identity() == definition && forward.enabled != enabled;
         });
}

// What the guest has open has no definition, but may have the host port of one that is disabled.
Result<std::vector<std::string>> meant(const std::vector<ForwardView>& forwards,
                                       const std::vector<std::string>& words,
                                       const std::string& edited) {
  std::vector<ForwardView> defined;
  std::ranges::copy_if(forwards, std::back_inserter(defined), [](const ForwardView& forward) {
    return forward.origin == Origin::metadata;
  });
  auto definitions = definitions_meant(defined, words, edited);
  if (!definitions && definitions.error().code == ErrorCode::no_such_forward)
    return definitions_meant(forwards, words, edited);
  return definitions;
}

// Where ports are forwarded by themselves, one that is not served by its definition may be so.
void say_what_goes_on(const FoundDomain& found, const std::vector<CountedForward>& disabled) {
  const auto forwards = forwards_of(found);
  if (!forwards) return;
  for (const ForwardView& forward : *forwards) {
    const bool was_meant = std::ranges::any_of(disabled, [&](const CountedForward& one) {
      return one.forward.protocol == forward.protocol &&
             one.forward.guest_port == forward.guest_port;
    });
    if (forward.origin == Origin::automatic && was_meant)
      say(guest_side(forward) + " is forwarded by itself now, as " + host_side(forward) + "; " +
          found.command("block", guest_side(forward)) + " ends that");
  }
}

Error with_side_hint(Error error, const std::vector<ForwardView>& ports) {
  const bool next_start_alone =
      !ports.empty() && std::ranges::none_of(ports, [](const auto& port) { return port.live; });
  if (error.code == ErrorCode::no_such_forward && next_start_alone)
    error.message += " while it runs; use --config for the one of its next start";
  return error;
}

int run(const Verb& verb, Call& call, bool enabled) {
  EditFlags edit;
  Options options(std::string(verb.parameters), std::string(verb.description));
  add_scope_options(options, edit);
  std::vector<std::string> positional;
  if (const auto over = take_arguments(verb, call, options, positional, 2, 10000)) return *over;

  const auto daemons = Daemons::open(call.globals, call.command_line);
  if (!daemons) return fail(daemons.error());
  const auto found = daemons->find(positional[0]);
  if (!found) return fail(found.error());
  const auto forwards = forwards_of(*found);
  if (!forwards) return fail(forwards.error());
  const auto definitions = meant(*forwards, {positional.begin() + 1, positional.end()},
                                 enabled ? "enabled" : "disabled");
  if (!definitions) return fail(definitions.error());

  int status = 0;
  const auto failed = [&](const Error& error) {
    const int one = fail(error);
    if (status == 0) status = one;
  };
  bool passes = false;
  std::vector<CountedForward> changed;
  for (const std::string& definition : *definitions) {
    const std::vector<ForwardView> ports = of_definition(*forwards, definition);
    if (const auto automatic = automatic_error(*found, ports)) {
      failed(*automatic);
      continue;
    }
    const auto now = found->daemon->change_forward(found->path, definition,
                                                   {{"enabled", enabled ? "" : "no"}}, edit);
    if (!now) {
      failed(with_side_hint(with_scope_hint(now.error(), found->domain), ports));
      continue;
    }
    if (enabled && !only_stored(edit, found->domain)) {
      if (!call.globals.json) print_ports(*found->daemon, *now);
      for (const std::string& line : taken_words(ports_of(*now), "using"))
        say(line);
    }
    passes = passes || turns_back(*found, definition, enabled);
    for (ForwardView& view : views_of(*found->daemon, *now))
      changed.push_back({std::move(view), std::nullopt});
  }
  if (!enabled) say_what_goes_on(*found, changed);
  if (passes) say_if_passing(found->domain, edit, enabled ? "disabled again" : "enabled again");
  if (!changed.empty()) say_if_saved(found->domain);
  if (call.globals.json) print(json_forwards(changed));
  return status;
}

int run_enable(const Verb& verb, Call& call) {
  return run(verb, call, true);
}

int run_disable(const Verb& verb, Call& call) {
  return run(verb, call, false);
}

}  // namespace

const Verb enable_verb{"enable",
                       "DOMAIN FORWARD…",
                       "Serve forwards that are disabled",
                       "Serves forwards of DOMAIN that were disabled, and prints the host ports "
                       "that they got.\n"
                       "FORWARD is as \"remove\" takes it.",
                       false,
                       run_enable};

const Verb disable_verb{"disable",
                        "DOMAIN FORWARD…",
                        "Stop serving forwards, and keep their definitions",
                        "Ends the service of forwards of DOMAIN with its connections; the "
                        "definitions stay, until\n"
                        "\"enable\". FORWARD is as \"remove\" takes it.",
                        false,
                        run_disable};

}  // namespace vf
