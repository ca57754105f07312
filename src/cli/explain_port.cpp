// SPDX-License-Identifier: LGPL-2.1-or-later

#include "cli/explain_port.h"

#include <glib.h>

#include <algorithm>

#include "base/printable.h"
#include "cli/shown.h"
#include "cli/table.h"
#include "doctor/reading.h"
#include "doctor/words.h"
#include "glib/shell_word.h"

namespace vf {
namespace {

constexpr std::string_view block_mark = "marked=\"yes\"";

std::string joined(const std::vector<IpAddress>& addresses) {
  std::string words;
  for (const IpAddress& address : addresses)
    words += (words.empty() ? "" : " and ") + address.text();
  return words;
}

std::vector<HolderView> holders_of(const PortHolders& holders, Protocol protocol,
                                   const std::optional<Port>& port) {
  std::vector<HolderView> views;
  if (!port) return views;
  for (const PortHolder& holder : holders.of(protocol, *port)) {
    HolderView& view = views.emplace_back();
    view.addresses = holder.addresses;
    view.port = holder.port;
    view.user = user_name(holder.uid);
    if (holder.pid != 0) view.process = ProcessView{holder.process, holder.pid, holder.command};
  }
  return views;
}

void take_rule(PortExplanation& explanation, const PortView& port) {
  explanation.rule = port.rule;
  explanation.rule_text = port.rule_text;
  explanation.marked = port.rule_text.find(block_mark) != std::string::npos;
}

// Where the guest says nothing of a port.
std::string nothing_said(const DomainView& domain, Protocol protocol, Port port) {
  if (!domain.active) return "the domain does not run";
  const std::string number = std::to_string(port.number());
  if (domain.guest_agent == "connected" || domain.guest_agent == "qemu-agent")
    return "the guest says that nothing listens on " + std::string(text(protocol)) + " port " +
           number +
           (protocol == Protocol::udp
                ? ", or was not asked: UDP is looked at where a definition or a "
                  "rule names it"
                : "");
  const std::string why = agent_reason(domain);
  return "not known: no agent tells what listens in the guest" +
         (why.empty() ? "" : " (" + why + ')');
}

std::string command(const DomainView& domain, const std::string& verb, Protocol protocol,
                    Port port) {
  return "virt-forward " + verb + ' ' + shell_word(domain.name) + ' ' +
         std::to_string(port.number()) + (protocol == Protocol::udp ? "/udp" : "");
}

std::string seconds_words(std::int64_t seconds) {
  if (seconds <= 0) return "now";
  if (seconds < 120)
    return "in " + std::to_string(seconds) + (seconds == 1 ? " second" : " seconds");
  return "in " + std::to_string(seconds / 60) + " minutes";
}

// A port that the guest has open and that has no forward.
PortExplanation without_forward(const ShownDomain& shown, const PortView& port,
                                const PortHolders& holders) {
  const Port number = *port.port;
  PortExplanation explanation{shown.domain.name, shown.domain.uuid, port.protocol, number};
  take_rule(explanation, port);
  explanation.listeners = {port};
  explanation.holders = holders_of(holders, port.protocol, number);
  explanation.reason = std::string(text(port.state)) + ": " + port.reason;
  if (explanation.marked)
    explanation.next = command(shown.domain, "unblock", port.protocol, number);
  else if (!shown.domain.automatic && port.state == DetectedState::ignored)
    explanation.next = "virt-forward auto " + shell_word(shown.domain.name) + " on";
  else if (port.state == DetectedState::asking)
    explanation.next = command(shown.domain, "allow", port.protocol, number);
  else
    explanation.next = command(shown.domain, "add", port.protocol, number);
  return explanation;
}

PortExplanation nothing_known(const ShownDomain& shown, Protocol protocol, Port port,
                              const PortHolders& holders) {
  const DomainView& domain = shown.domain;
  PortExplanation explanation{domain.name, domain.uuid, protocol, port};
  explanation.no_listeners = nothing_said(domain, protocol, port);
  explanation.holders = holders_of(holders, protocol, port);
  explanation.reason = "no definition of the metadata names it";
  const bool told = domain.guest_agent == "connected" || domain.guest_agent == "qemu-agent";
  if (!domain.active) {
    explanation.next = "virsh start " + shell_word(domain.name);
    return explanation;
  }
  if (!domain.automatic) explanation.reason += ", automatic forwarding is off";
  explanation.reason += told ? ", and nothing listens there" : ", and no agent tells of ports";
  explanation.next = command(domain, "add", protocol, port);
  if (told && !domain.automatic)
    explanation.next +=
        "   # or for whatever opens: virt-forward auto " + shell_word(domain.name) + " on";
  if (!told)
    explanation.next += "   # what the agent lacks: virt-forward doctor " + shell_word(domain.name);
  return explanation;
}

std::string decision_words(const PortExplanation& explanation) {
  if (!explanation.definition.empty() && explanation.forward) {
    const ForwardView& forward = *explanation.forward;
    const char* const where = forward.live && forward.config
                                  ? "of the running domain and its next start"
                              : forward.live ? "of the running domain alone"
                                             : "of the domain's next start";
    return "definition \"" + explanation.definition + "\" in the metadata " + where;
  }
  if (explanation.rule)
    return "rule " + std::to_string(*explanation.rule) + " of <auto>" +
           (explanation.marked ? ", put there by \"virt-forward block\"" : "") +
           (explanation.rule_text.empty() ? "" : ": " + explanation.rule_text);
  if (explanation.forward || !explanation.listeners.empty())
    return "no rule: what happens to ports that the guest opens by itself";
  return "nothing";
}

std::string listener_words(const PortView& port) {
  std::string words = "listens on " + joined(port.addresses) + " port " + port_words(port);
  if (port.process)
    words += ": " + (port.process->name.empty() ? std::string("a process") : port.process->name);
  std::string who;
  if (port.process && port.process->pid > 0) who = "process " + std::to_string(port.process->pid);
  if (port.user_id)
    who += (who.empty() ? "" : ", ") + std::string("user ") + std::to_string(*port.user_id);
  if (!port.container.empty())
    who += (who.empty() ? "" : ", ") + std::string("in ") + port.container;
  if (!who.empty()) words += (port.process ? " (" : ": (") + who + ')';
  return words + (port.source == PortSource::agent ? "; virt-forward-guest says so"
                                                   : "; QEMU's guest agent says so");
}

std::string holder_words(const HolderView& holder) {
  std::string words =
      std::to_string(holder.port->number()) + " on " + joined(holder.addresses) + " is held by ";
  if (!holder.process)
    return words + "a program of user " + holder.user + " (run as root to see the process)";
  return words + holder.process->name + " (process " + std::to_string(holder.process->pid) +
         ", user " + holder.user + ')';
}

void line(std::string& page, const char* what, const std::string& words) {
  if (words.empty()) return;
  std::string name = std::string("  ") + what + ':';
  name.resize(14, ' ');
  page += name + printable(words, 2000) + '\n';
}

std::string title(const PortExplanation& explanation) {
  if (!explanation.forward) {
    std::string port = explanation.port ? std::to_string(explanation.port->number()) : "-";
    if (explanation.protocol == Protocol::udp) port += "/udp";
    return port + ": not forwarded: " + explanation.reason;
  }
  const ForwardView& forward = *explanation.forward;
  std::string words = forward.id + ": " + state_words(forward, false);
  if (forward.transport) words += " by " + way(forward);
  return forward.reason.empty() ? words : words + ": " + forward.reason;
}

}  // namespace

PortExplanation explain_forward(const ShownDomain& shown, const ForwardView& forward,
                                const PortHolders& holders) {
  PortExplanation explanation{shown.domain.name, shown.domain.uuid, forward.protocol,
                              forward.guest_port, forward};
  if (forward.origin == Origin::metadata) explanation.definition = forward.definition;
  for (const PortView& port : shown.ports) {
    if (port.forward == forward.id && forward.origin == Origin::automatic)
      take_rule(explanation, port);
    if (port.protocol == forward.protocol && port.port == forward.guest_port && forward.guest_port)
      explanation.listeners.push_back(port);
  }
  if (forward.guest_port && explanation.listeners.empty())
    explanation.no_listeners = nothing_said(shown.domain, forward.protocol, *forward.guest_port);
  explanation.holders = holders_of(holders, forward.protocol, forward.host_port);
  if (forward.requested_port != forward.host_port)
    for (HolderView& holder : holders_of(holders, forward.protocol, forward.requested_port))
      explanation.holders.push_back(std::move(holder));
  switch (forward.state) {
    case ForwardState::active:
      break;
    case ForwardState::inactive:
      explanation.next =
          shown.domain.active
              ? copy_command(forward, definition_of(forward, shown.config), Side::live, shown.live)
              : "virsh start " + shell_word(shown.domain.name);
      break;
    case ForwardState::disabled:
      explanation.next = "virt-forward enable " + shell_word(shown.domain.name) + ' ' +
                         shell_word(forward_name(forward)) + (forward.live ? "" : " --config");
      break;
    default:
      explanation.next = goes_astray(shown.domain, forward)
                             ? lead_back_command(forward, shown.live)
                             : "virt-forward doctor " + shell_word(shown.domain.name);
  }
  return explanation;
}

std::vector<PortExplanation> explain_port(const ShownDomain& shown, Port port,
                                          std::optional<Protocol> protocol,
                                          const PortHolders& holders) {
  const auto fits = [&](Protocol one) { return !protocol || *protocol == one; };
  std::vector<PortExplanation> explanations;
  const auto take = [&](auto has_it) {
    for (const ForwardView& forward : shown.forwards) {
      const bool taken = std::ranges::any_of(explanations, [&](const PortExplanation& one) {
        return one.forward && one.forward->id == forward.id && one.forward->live == forward.live;
      });
      if (!taken && fits(forward.protocol) && has_it(forward))
        explanations.push_back(explain_forward(shown, forward, holders));
    }
  };
  // As `url` and `remove` read the number: first as the host's.
  take([&](const ForwardView& forward) { return forward.host_port == port; });
  take([&](const ForwardView& forward) {
    return forward.requested_port == port || forward.guest_port == port;
  });
  for (const PortView& view : shown.ports)
    if (view.port == port && fits(view.protocol) && view.forward.empty())
      explanations.push_back(without_forward(shown, view, holders));
  if (explanations.empty())
    explanations.push_back(nothing_known(shown, protocol.value_or(Protocol::tcp), port, holders));
  return explanations;
}

std::string page(const PortExplanation& explanation, bool color, bool notes_below) {
  std::string page = printable(title(explanation), 4096) + '\n';
  line(page, "decided by", decision_words(explanation));
  for (const PortView& port : explanation.listeners)
    line(page, "guest", listener_words(port));
  line(page, "guest", explanation.no_listeners);
  for (const HolderView& holder : explanation.holders)
    line(page, "host port", holder_words(holder));
  const auto& forward = explanation.forward;
  if (forward && forward->next_retry)
    line(page, "next try",
         seconds_words(*forward->next_retry - g_get_real_time() / G_USEC_PER_SEC));
  line(page, "next step", explanation.next);
  if (!forward || forward->ways.empty()) return page;
  Table table({"WAY", "STATE"});
  for (const WayView& one : forward->ways)
    table.add({{one.way}, {std::string(text(one.state))}}, one.reason);
  return page + table.render(color, notes_below);
}

}  // namespace vf
