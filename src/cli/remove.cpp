// SPDX-License-Identifier: LGPL-2.1-or-later

#include <algorithm>
#include <set>

#include "cli/definitions_meant.h"
#include "cli/output.h"
#include "cli/scope.h"
#include "cli/verb.h"
#include "client/json.h"

namespace vf {
namespace {

bool in_scope(const ForwardView& forward, const EditFlags& edit) {
  if (edit.persistent || (edit.live && edit.config)) return true;
  return edit.config ? forward.config : forward.live || !forward.config;
}

int run_remove(const Verb& verb, Call& call) {
  EditFlags edit;
  bool all = false;
  Options options(std::string(verb.parameters), std::string(verb.description));
  options.flag("all", 0, all, "Remove every forward of the domain");
  options.flag("drain", 0, edit.drain, "Let connections end by themselves");
  add_scope_options(options, edit);
  std::vector<std::string> positional;
  if (const auto over = take_arguments(verb, call, options, positional, 1, 10000)) return *over;
  const std::vector<std::string> words(positional.begin() + 1, positional.end());
  if (all != words.empty())
    return fail({ErrorCode::invalid_argument,
                 all ? "--all removes every forward; leave it or the forwards out"
                     : "which forward? Name it (virt-forward list shows the names), or say --all"});

  const auto daemons = Daemons::open(call.globals, call.command_line);
  if (!daemons) return fail(daemons.error());
  const auto found = daemons->find(positional[0]);
  if (!found) return fail(found.error());
  const auto forwards = forwards_of(*found);
  if (!forwards) return fail(forwards.error());

  std::vector<std::string> definitions;
  if (all) {
    std::set<std::string> distinct;
    for (const ForwardView& forward : *forwards)
      if (forward.origin == Origin::metadata && in_scope(forward, edit))
        distinct.insert(forward.definition);
    definitions.assign(distinct.begin(), distinct.end());
  } else {
    auto meant = definitions_meant(*forwards, words, "removed");
    if (!meant) return fail(meant.error());
    definitions = std::move(*meant);
  }

  int status = 0;
  std::vector<CountedForward> removed;
  for (const std::string& definition : definitions) {
    if (const auto automatic = automatic_error(*found, of_definition(*forwards, definition))) {
      const int failed = fail(*automatic);
      if (status == 0) status = failed;
      continue;
    }
    const auto result = found->daemon->remove_forward(found->path, definition, edit);
    if (!result) {
      const int failed = fail(with_scope_hint(result.error(), found->domain));
      if (status == 0) status = failed;
      continue;
    }
    for (const ForwardView& forward : of_definition(*forwards, definition))
      removed.push_back({forward, std::nullopt});
  }
  const bool comes_back = std::any_of(removed.begin(), removed.end(),
                                      [](const auto& forward) { return forward.forward.config; });
  if (comes_back) say_if_passing(found->domain, edit, "back");
  if (!removed.empty()) say_if_saved(found->domain);
  if (call.globals.json) print(json_forwards(removed));
  return status;
}

}  // namespace

const Verb remove_verb{
    "remove",
    "DOMAIN FORWARD…",
    "Remove forwards and end their connections",
    "Removes forwards of DOMAIN. FORWARD is a name or id as \"list\" shows it, a host port, or\n"
    "[HOST:]GUEST[/udp] where that means one forward.",
    false,
    run_remove};

}  // namespace vf
