// SPDX-License-Identifier: LGPL-2.1-or-later
//
// The verbs auto, block and unblock: ports that a guest opens by itself.

#include <algorithm>
#include <map>

#include "base/printable.h"
#include "cli/automatic.h"
#include "cli/daemons.h"
#include "cli/output.h"
#include "cli/port_spec.h"
#include "cli/scope.h"
#include "cli/shown.h"
#include "cli/table.h"
#include "cli/verb.h"
#include "client/json.h"

namespace vf {
namespace {

struct GuestPortsShown {
  std::vector<PortView> ports;
  std::map<std::string, std::string> host_sides;  // by the id of the forward
};

Result<GuestPortsShown> ports_of(const FoundDomain& found) {
  const auto inventory = found.daemon->inventory();
  if (!inventory) return Unexpected(inventory.error());
  GuestPortsShown shown;
  std::vector<PortView>& ports = shown.ports;
  for (const auto& [path, properties] : inventory->ports) {
    PortView port = port_view(properties);
    if (port.uuid == found.domain.uuid) ports.push_back(std::move(port));
  }
  std::sort(ports.begin(), ports.end(), [](const PortView& a, const PortView& b) {
    return std::tie(a.protocol, a.port, a.id) < std::tie(b.protocol, b.port, b.id);
  });
  for (const auto& [path, properties] : inventory->forwards)
    if (const ForwardView forward = forward_view(properties); forward.uuid == found.domain.uuid)
      shown.host_sides.emplace(forward.id, host_side(forward));
  return shown;
}

// Where the port is on this host; the id of its forward where that has gone meanwhile.
std::string forward_words(const PortView& port, const GuestPortsShown& shown) {
  if (port.forward.empty()) return "-";
  const auto side = shown.host_sides.find(port.forward);
  return side == shown.host_sides.end() ? port.forward : side->second;
}

std::string agent_words(const DomainView& domain) {
  if (!domain.active) return "none, the domain does not run";
  std::string words = domain.guest_agent.empty() ? "none" : domain.guest_agent;
  if (const std::string why = agent_reason(domain); !why.empty()) words += ": " + why;
  return printable(words);
}

std::string address_words(const PortView& port) {
  std::string words;
  for (const IpAddress& address : port.addresses)
    words += (words.empty() ? "" : " ") + address.text();
  return words;
}

int show(const FoundDomain& found, const Call& call) {
  const auto shown = ports_of(found);
  if (!shown) return fail(shown.error());
  const std::vector<PortView>& ports = shown->ports;
  if (call.globals.json) {
    print(json_automatic(found.domain, ports));
    return 0;
  }
  const bool automatic = found.domain.automatic;
  print("automatic forwarding: " +
        (automatic ? "on" : "off; switched on by: " + printable(found.command("auto", "on"))) +
        "\nguest agent: " + agent_words(found.domain) + '\n');
  if (ports.empty()) return 0;
  Table table({"PORT", "ADDRESS", "PROCESS", "STATE", "RULE", "FORWARD"});
  std::string why_off;  // of every port that is ignored then, so it is said once
  for (const PortView& port : ports) {
    const bool off = !automatic && port.state == DetectedState::ignored;
    if (off) why_off = port.reason;
    table.add({{port_words(port)},
               {address_words(port)},
               {port.process && !port.process->name.empty() ? port.process->name : "-"},
               {std::string(text(port.state)), state_color(port.state)},
               {port.rule ? std::to_string(*port.rule) : "-"},
               {forward_words(port, *shown)}},
              off ? std::string() : port.reason);
  }
  print('\n' + table.render(color_wanted(call.globals.color), stdout_is_terminal()));
  if (!why_off.empty()) print("\nignored: " + printable(why_off) + '\n');
  return 0;
}

std::optional<AutoMode> mode_from(std::string_view word) {
  if (word == "on") return AutoMode::yes;
  if (word == "off") return AutoMode::no;
  if (word == "policy") return AutoMode::policy;
  return std::nullopt;
}

int run_auto(const Verb& verb, Call& call) {
  EditFlags edit;
  Options options(std::string(verb.parameters), std::string(verb.description));
  add_lasting_scope_options(options, edit);
  std::vector<std::string> positional;
  if (const auto over = take_arguments(verb, call, options, positional, 1, 2)) return *over;
  std::optional<AutoMode> mode;
  if (positional.size() > 1) {
    mode = mode_from(positional[1]);
    if (!mode)
      return fail({ErrorCode::invalid_argument,
                   quote(positional[1]) + " is no switch; allowed are on, off and policy"});
  }
  const auto daemons = Daemons::open(call.globals, call.command_line);
  if (!daemons) return fail(daemons.error());
  const auto found = daemons->find(positional[0]);
  if (!found) return fail(found.error());
  if (!mode) return show(*found, call);
  const auto done = found->daemon->set_automatic(found->path, *mode, edit);
  if (!done) return fail(with_scope_hint(done.error(), found->domain));
  if (const std::string why = agent_reason(found->domain);
      *mode == AutoMode::yes && found->domain.active && !why.empty())
    say("nothing tells of its ports yet: " + why + "; see " + found->command("doctor"));
  return show_ports_json(*daemons, positional[0], call);
}

int run_edit(const Verb& verb, Call& call,
             Result<void> (Daemon::*change)(const std::string&, Protocol, PortRange,
                                            const EditFlags&) const) {
  EditFlags edit;
  Options options(std::string(verb.parameters), std::string(verb.description));
  add_lasting_scope_options(options, edit);
  std::vector<std::string> positional;
  if (const auto over = take_arguments(verb, call, options, positional, 2, 2)) return *over;
  const auto spec = parse_port_spec(positional[1]);
  if (!spec) return fail(spec.error());
  const auto daemons = Daemons::open(call.globals, call.command_line);
  if (!daemons) return fail(daemons.error());
  const auto found = daemons->find(positional[0]);
  if (!found) return fail(found.error());
  const auto done = (found->daemon->*change)(found->path, spec->protocol, spec->ports, edit);
  if (!done) return fail(with_scope_hint(done.error(), found->domain));
  return show_ports_json(*daemons, positional[0], call);
}

int run_block(const Verb& verb, Call& call) {
  return run_edit(verb, call, &Daemon::block);
}

int run_unblock(const Verb& verb, Call& call) {
  return run_edit(verb, call, &Daemon::unblock);
}

}  // namespace

int show_ports_json(const Daemons& daemons, const std::string& domain, const Call& call) {
  if (!call.globals.json) return 0;
  const auto now = daemons.find(domain);
  return now ? show(*now, call) : fail(now.error());
}

const Verb auto_verb{
    "auto",
    "DOMAIN [on|off|policy]",
    "Show or switch the forwarding of ports that a guest opens",
    "Shows whether ports that the guest opens are forwarded by themselves, who tells "
    "of them, and\n"
    "what became of each. With a word, switches it: policy is as the host says.",
    false,
    run_auto};

const Verb block_verb{"block",
                      "DOMAIN PORT[/udp]",
                      "Never forward a port that the guest opens",
                      "Ends the automatic forward of a port or range of the guest with its "
                      "connections, and keeps\n"
                      "such ports from being forwarded by themselves.",
                      false,
                      run_block};

const Verb unblock_verb{
    "unblock",
    "DOMAIN PORT[/udp]",
    "Undo a block",
    "Takes a port or range out of what \"block\" blocked; a port that the guest "
    "has open is\n"
    "decided anew at once.",
    false,
    run_unblock};

}  // namespace vf
