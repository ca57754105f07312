// SPDX-License-Identifier: LGPL-2.1-or-later

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <set>

#include "base/fd.h"
#include "cli/added.h"
#include "cli/daemons.h"
#include "cli/forward_file.h"
#include "cli/output.h"
#include "cli/scope.h"
#include "cli/shown.h"
#include "cli/table.h"
#include "cli/taken.h"
#include "cli/verb.h"
#include "client/json.h"
#include "core/definition_attributes.h"
#include "core/definition_xml.h"
#include "core/forward_entry.h"
#include "glib/object_path.h"

namespace vf {
namespace {

// What is longer than a document may be is cut there, and refused by who reads it.
Result<std::string> content_of(const std::string& name) {
  Fd opened;
  if (name != "-") {
    opened = Fd(open(name.c_str(), O_RDONLY | O_CLOEXEC));
    if (!opened) return Unexpected(system_error(errno, quote(name)));
  }
  const int file = name == "-" ? STDIN_FILENO : opened.get();
  std::string text;
  char buffer[65536];
  while (text.size() <= DefinitionLimits::document_bytes) {
    const ssize_t count = read(file, buffer, sizeof buffer);
    if (count < 0 && errno == EINTR) continue;
    if (count < 0) return Unexpected(system_error(errno, quote(name)));
    if (count == 0) break;
    text.append(buffer, static_cast<std::size_t>(count));
  }
  return text;
}

std::vector<ForwardDefinition> definitions_of(const ForwardFile& file) {
  std::vector<ForwardDefinition> definitions;
  for (const FiledForward& forward : file.forwards)
    definitions.push_back(forward.definition);
  return definitions;
}

// Says everything that is wrong; the exit status.
int refuse(const std::string& name, const std::vector<std::string>& errors) {
  constexpr std::size_t most_said = 50;
  for (std::size_t i = 0; i < errors.size() && i < most_said; ++i)
    say(name + ": " + errors[i]);
  if (errors.size() > most_said)
    say(name + ": and " + std::to_string(errors.size() - most_said) + " more");
  say("nothing was added");
  return exit_status(ErrorCode::invalid_argument);
}

// Where the edit goes, as the daemon decides it.
struct Target {
  bool live = false;
  bool config = false;
};

Target target_of(const EditFlags& edit, const DomainView& domain) {
  const bool any = edit.live || edit.config || edit.persistent;
  return {edit.live || !any || (edit.persistent && domain.active), edit.config || edit.persistent};
}

// Forwards of the file that the domain has already.
Result<std::vector<std::string>> known_already(const FoundDomain& found, Target target,
                                               const ForwardFile& file) {
  std::set<std::string> identities;
  for (const bool live : {true, false}) {
    if (!(live ? target.live : target.config)) continue;
    EditFlags side;
    (live ? side.live : side.config) = true;
    const auto element = found.daemon->metadata(found.path, side);
    if (!element) return Unexpected(element.error());
    for (const ForwardDefinition& forward : parse_definitions(*element).definitions.forwards)
      identities.insert(forward.identity());
  }
  std::vector<std::string> errors;
  for (const FiledForward& forward : file.forwards)
    if (identities.contains(forward.definition.identity()))
      errors.push_back(forward.place + ": " + quote(found.domain.name) +
                       " already has the forward " + quote(forward.definition.identity()) +
                       "; remove it first, or give this one another name");
  return errors;
}

std::vector<CountedForward> views_of(const FoundDomain& found,
                                     const std::vector<std::vector<AddedForward>>& added) {
  std::vector<CountedForward> forwards;
  for (const std::vector<AddedForward>& some : added)
    for (const AddedForward& one : some)
      if (const auto properties = found.daemon->properties(one.path, forward_interface))
        forwards.push_back({forward_view(*properties), std::nullopt});
  return forwards;
}

void show(const std::vector<CountedForward>& forwards, const Call& call) {
  if (call.globals.json) {
    print(json_forwards(forwards));
    return;
  }
  std::vector<PortGot> ports;
  Table table({"FORWARD", "URL", "GUEST", "STATE"});
  for (const auto& [forward, counters] : forwards) {
    table.add({{forward.id},
               {host_side(forward)},
               {guest_side(forward)},
               {state_words(forward, false), state_color(forward)}},
              reason_words(forward));
    ports.push_back({forward.requested_port, forward.host_port});
  }
  for (const std::string& line : taken_words(ports, "using"))
    say(line);
  print(table.render(color_wanted(call.globals.color), stdout_is_terminal()));
}

// What it said, with the place in the file of what it is about; the exit status.
int fail_of(const ForwardFile& file, const FoundDomain& found, const Error& told) {
  Error error = with_scope_hint(told, found.domain);
  const auto entry = take_entry(error);
  if (entry && *entry < file.forwards.size())
    error.message = file.forwards[*entry].place + ": " + error.message;
  const int status = fail(error);
  // The others say themselves what is so.
  if (error.code != ErrorCode::failed && error.code != ErrorCode::no_daemon)
    say("nothing was added");
  return status;
}

int run_import(const Verb& verb, Call& call) {
  EditFlags edit;
  bool dry_run = false;
  Options options(std::string(verb.parameters), std::string(verb.description));
  options.flag("dry-run", 0, dry_run, "Print what would be added, and add nothing");
  add_scope_options(options, edit);
  std::vector<std::string> positional;
  if (const auto over = take_arguments(verb, call, options, positional, 2, 2)) return *over;

  const auto text = content_of(positional[1]);
  if (!text) return fail(text.error());
  const std::string name = positional[1] == "-" ? "standard input" : quote(positional[1]);
  const ForwardFile file = read_forward_file(*text);
  if (!file.errors.empty()) return refuse(name, file.errors);
  for (const std::string& note : file.notes)
    say(name + ": " + note);

  const auto daemons = Daemons::open(call.globals, call.command_line);
  if (!daemons) return fail(daemons.error());
  const auto found = daemons->find(positional[0]);
  if (!found) return fail(found.error());
  const Target target = target_of(edit, found->domain);
  // Which also finds out whether it runs: the daemon may not have heard yet that it has started.
  const auto known = known_already(*found, target, file);
  if (!known) return fail(with_scope_hint(known.error(), found->domain));
  if (!known->empty()) return refuse(name, *known);
  if (file.forwards.empty()) {
    say(name + " has no forwards; nothing is added");
    if (call.globals.json) print(json_forwards({}));
    return 0;
  }
  const auto definitions = definitions_of(file);
  std::vector<std::vector<std::pair<std::string, std::string>>> attributes;
  for (const ForwardDefinition& definition : definitions)
    attributes.push_back(attributes_of(definition));
  edit.dry_run = dry_run;
  const auto added = found->daemon->add_forwards(found->path, attributes, edit);
  if (!added) return fail_of(file, *found, added.error());
  if (dry_run) {
    print(call.globals.json ? json_definitions(definitions) : list_text(definitions));
    std::vector<PortGot> ports;
    for (const auto& some : *added)
      std::ranges::move(ports_of(some), std::back_inserter(ports));
    for (const std::string& line : taken_words(ports, "it would be"))
      say(line);
    return 0;
  }
  const auto forwards = views_of(*found, *added);
  show(forwards, call);
  const bool lasts = std::all_of(forwards.begin(), forwards.end(),
                                 [](const auto& forward) { return forward.forward.config; });
  if (!lasts) say_if_passing(found->domain, edit, "gone");
  say_if_saved(found->domain);
  return 0;
}

}  // namespace

const Verb import_verb{
    "import",
    "DOMAIN FILE|-",
    "Add the forwards of a file, all of them or none",
    "Adds the forwards that FILE lists (-: standard input): one [HOST:]GUEST[/udp] a line, what "
    "\"export\"\n"
    "writes, or GhostVM's config.json. A mistake in it, or one that cannot be had, and none is "
    "added.",
    false,
    run_import};

}  // namespace vf
