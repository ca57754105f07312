// SPDX-License-Identifier: LGPL-2.1-or-later
//
// The verb allow: the answer to a rule of action "ask".

#include <set>

#include "cli/automatic.h"
#include "cli/daemons.h"
#include "cli/output.h"
#include "cli/port_spec.h"
#include "cli/scope.h"
#include "cli/verb.h"

namespace vf {
namespace {

// Whose the ports are, as the guest says now.
Result<std::string> process_of(const FoundDomain& found, const PortSpec& spec) {
  const auto inventory = found.daemon->inventory();
  if (!inventory) return Unexpected(inventory.error());
  std::set<std::string> names;
  for (const auto& [path, properties] : inventory->ports) {
    const PortView port = port_view(properties);
    if (port.uuid == found.domain.uuid && port.protocol == spec.protocol && port.port &&
        spec.ports.contains(*port.port) && port.process && !port.process->name.empty())
      names.insert(port.process->name);
  }
  if (names.size() == 1) return *names.begin();
  const std::string ports = std::string(text(spec.protocol)) + " port " + spec.ports.text();
  if (names.empty())
    return Unexpected(ErrorCode::no_such_forward, "the guest names no process that listens on " +
                                                      ports +
                                                      "; virt-forward auto shows those it names");
  return Unexpected(ErrorCode::ambiguous_name, "more than one process listens on " + ports +
                                                   "; allow the ports themselves, or one by one");
}

// `what`: ports, or a process that may have gone meanwhile. What begins like a port is none, unless
// a process is asked for.
Result<void> undo(const FoundDomain& found, const std::string& what, bool by_process,
                  const EditFlags& edit) {
  const auto take_back = [&](Protocol protocol, PortRange ports, const std::string& process) {
    return found.daemon->disallow(found.path, protocol, ports, process, edit);
  };
  const auto spec = parse_port_spec(what);
  if (spec) {
    if (!by_process) return take_back(spec->protocol, spec->ports, {});
    const auto process = process_of(found, *spec);
    if (!process) return Unexpected(process.error());
    return take_back(spec->protocol, *PortRange::parse("1-65535"), *process);
  }
  if (what.empty() || (!by_process && what.front() >= '0' && what.front() <= '9'))
    return Unexpected(spec.error());
  const auto of_tcp = take_back(Protocol::tcp, *PortRange::parse("1-65535"), what);
  const auto of_udp = take_back(Protocol::udp, *PortRange::parse("1-65535"), what);
  return of_tcp ? of_tcp : of_udp;
}

// Whether a rule asks about one of the ports now.
Result<bool> is_asked(const FoundDomain& found, const PortSpec& spec) {
  const auto inventory = found.daemon->inventory();
  if (!inventory) return Unexpected(inventory.error());
  for (const auto& [path, properties] : inventory->ports) {
    const PortView port = port_view(properties);
    if (port.uuid == found.domain.uuid && port.protocol == spec.protocol && port.port &&
        spec.ports.contains(*port.port) && port.state == DetectedState::asking)
      return true;
  }
  return false;
}

// An answer may come before the question: the ports themselves are what it lets through.
void say_how_far(const FoundDomain& found, const PortSpec& spec, const EditFlags& edit,
                 bool asked) {
  if (!asked)
    say("no rule asks about " + std::string(text(spec.protocol)) + " port " + spec.ports.text() +
        " now; it is forwarded whenever the guest has it open" +
        (edit.config && !edit.live ? ", from the next start on" : ""));
  say_if_passing(found.domain, edit, asked ? "the port is asked about again" : "no longer so");
}

int run_allow(const Verb& verb, Call& call) {
  EditFlags edit;
  bool by_process = false;
  bool taking_back = false;
  Options options(std::string(verb.parameters), std::string(verb.description));
  options.flag("process", 0, by_process, "Always, and whatever else that process opens");
  options.flag("undo", 0, taking_back,
               "Take the answer back: of a port, or of a process by its name");
  options.flag("live", 0, edit.live, "Edit the running domain alone");
  options.flag("config", 0, edit.config, "Edit what the next start brings alone");
  options.flag("persistent", 0, edit.persistent, "Both (the default with --process)");
  std::vector<std::string> positional;
  if (const auto over = take_arguments(verb, call, options, positional, 2, 2)) return *over;
  const auto spec = parse_port_spec(positional[1]);
  if (!spec && !taking_back) return fail(spec.error());
  const auto daemons = Daemons::open(call.globals, call.command_line);
  if (!daemons) return fail(daemons.error());
  const auto found = daemons->find(positional[0]);
  if (!found) return fail(found.error());
  if (taking_back) {
    const auto undone = undo(*found, positional[1], by_process, edit);
    if (!undone) return fail(with_scope_hint(undone.error(), found->domain));
    return show_ports_json(*daemons, positional[0], call);
  }
  std::string process;
  if (by_process) {
    const auto name = process_of(*found, *spec);
    if (!name) return fail(name.error());
    process = *name;
  }
  const auto asked = is_asked(*found, *spec);
  if (!asked) return fail(asked.error());
  const auto done = found->daemon->allow(found->path, spec->protocol, spec->ports, process, edit);
  if (!done) return fail(with_scope_hint(done.error(), found->domain));
  if (!found->domain.automatic)
    say("nothing is forwarded by itself while automatic forwarding is off for this domain: " +
        found->command("auto", "on"));
  else if (!by_process)
    say_how_far(*found, *spec, edit, *asked);
  return show_ports_json(*daemons, positional[0], call);
}

}  // namespace

const Verb allow_verb{
    "allow",
    "DOMAIN PORT[/udp]",
    "Forward a port that a rule asks about",
    "Answers a rule of action \"ask\" with yes: the port or range of the guest is "
    "forwarded, until the\n"
    "domain stops. With --process, always, and so is what else the process opens "
    "that the rule\n"
    "asks about. With --undo, takes such an answer back; instead of a port it can be the "
    "name of a process.",
    false,
    run_allow};

}  // namespace vf
