// SPDX-License-Identifier: LGPL-2.1-or-later
//
// DomainRecord: what is known of the guest from within, and how that looks to people.

#include <algorithm>

#include "daemon/domain_record.h"
#include "transport/usernet_tunnels.h"

namespace vf {

void DomainRecord::set_agent(AgentState state, std::string word, std::string reason) {
  agent_ = state;
  agent_word_ = std::move(word);
  agent_reason_ = std::move(reason);
}

void DomainRecord::judge(const Policy& policy, std::int64_t now) {
  guest_ports_.judge(live_.definitions.automatic, policy, now);
  expand_wanted(policy);
}

bool DomainRecord::wants_qemu_agent(const Policy& policy) const {
  return snapshot_.active && snapshot_.guest_agent && agent_ != AgentState::present &&
         automatic(live_.definitions.automatic, policy);
}

void DomainRecord::set_qemu_agent(bool answers, std::string problem) {
  qemu_agent_answers_ = answers;
  qemu_agent_problem_ = std::move(problem);
}

bool DomainRecord::wants_udp() const {
  const auto is_udp = [](const auto& one) { return one.protocol == Protocol::udp; };
  const auto& automatic = live_.definitions.automatic;
  return std::ranges::any_of(live_.definitions.forwards, is_udp) ||
         (automatic && std::ranges::any_of(automatic->rules, is_udp));
}

// The forward of a definition that takes connections to this port already.
std::optional<std::string> DomainRecord::served_by_definition(const DetectedPort& port) const {
  for (const SingleForward& single : wanted_) {
    const auto& address = single.spec.guest_address;
    if (single.origin == Origin::metadata && !single.refused &&
        single.spec.protocol == port.protocol && single.guest_port() == port.port &&
        (!address || port.wildcard() ||
         std::ranges::find(port.addresses, *address) != port.addresses.end()))
      return single.id;
  }
  return std::nullopt;
}

std::optional<AutoRule> DomainRecord::asking_rule(Protocol protocol, PortRange ports,
                                                  const std::string& process) const {
  std::optional<AutoRule> rule;
  for (const auto& [id, entry] : guest_ports_.entries()) {
    if (entry.decision.state != DetectedState::asking || entry.port.protocol != protocol ||
        !ports.contains(entry.port.port) ||
        !(process.empty() || entry.port.process.name == process))
      continue;
    if (rule && rule != entry.decision.by) return std::nullopt;
    rule = entry.decision.by;
  }
  if (rule && rule->guest_port &&
      !(rule->guest_port->contains(ports.low()) && rule->guest_port->contains(ports.high())))
    return std::nullopt;
  return rule;
}

std::vector<AutoRule> DomainRecord::allowing_rules(Protocol protocol, PortRange ports) const {
  std::vector<AutoRule> rules;
  for (const auto& [id, entry] : guest_ports_.entries())
    if (const auto& by = entry.decision.by; by && by->marked && by->action == RuleAction::forward &&
                                            entry.port.protocol == protocol &&
                                            ports.contains(entry.port.port))
      rules.push_back(*by);
  return rules;
}

// What was found in the guest, of an automatic forward.
const GuestPorts::Entry* DomainRecord::detected(const SingleForward& forward) const {
  if (forward.origin != Origin::automatic) return nullptr;
  const auto found = guest_ports_.entries().find(forward.id.substr(automatic_prefix.size()));
  return found == guest_ports_.entries().end() ? nullptr : &found->second;
}

// Its service has gone and may come back: nobody is let in meanwhile.
bool DomainRecord::withdrawn(const SingleForward& forward) const {
  const GuestPorts::Entry* const entry = detected(forward);
  return entry && entry->gone;
}

GuestReach DomainRecord::reach(const Policy& policy) const {
  GuestReach reach;
  reach.addresses = addresses_;
  reach.bridged = std::ranges::any_of(snapshot_.interfaces, [](const GuestInterface& interface) {
    return !interface.bridge.empty();
  });
  reach.agent = agent_;
  reach.agent_reason = agent_reason_;
  const auto ends = [this](Transport kind) {
    const auto found = tunnels_.find(kind);
    return found == tunnels_.end() ? nullptr : &found->second;
  };
  reach.macvtap = std::ranges::any_of(snapshot_.interfaces, [](const GuestInterface& interface) {
    return interface.type == "direct";
  });
  reach.ssh.given = live_.definitions.ssh.has_value();
  if (reach.ssh.given)
    if (const auto account = ssh_account(live_.definitions.ssh, policy); !account)
      reach.ssh.missing = account.error();
  reach.ssh.ends = ends(Transport::ssh);
  for (const GuestInterface& interface : snapshot_.interfaces) {
    if (interface.type != "user") continue;
    reach.usernet.given = true;
    if (interface.backend.empty()) {
      reach.usernet.missing.reset();
      break;
    }
    reach.usernet.missing = Error{ErrorCode::not_supported, std::string(why_no_usernet_with_passt)};
  }
  reach.usernet.ends = ends(Transport::usernet);
  if (guest_ports_.known()) reach.ports = &guest_ports_.listening();
  return reach;
}

bool DomainRecord::says_nothing_listens(const SingleForward& forward,
                                        const GuestReach& reached) const {
  const auto port = forward.guest_port();
  const bool looked_for = forward.spec.protocol == Protocol::tcp || wants_udp();
  return agent_ == AgentState::present && guest_ports_.known() && port && looked_for &&
         reached.listeners(forward.spec.protocol, *port).empty();
}

// Who is behind it, as the guest says.
void DomainRecord::describe_guest(ForwardView& view, const SingleForward& forward,
                                  const GuestReach& reached) const {
  const GuestPorts::Entry* const entry = detected(forward);
  const DetectedPort* port = entry ? &entry->port : nullptr;
  if (!port && forward.guest_port()) {
    const auto listeners = reached.listeners(forward.spec.protocol, *forward.guest_port());
    if (!listeners.empty()) port = listeners.front();
  }
  if (!port || (port->process.pid == 0 && port->process.name.empty())) return;
  view.process = ProcessView{port->process.name, port->process.pid, port->process.command};
}

// Who tells of the guest's ports, and what people should know of that.
void DomainRecord::describe_agent(DomainView& view, const Policy& policy) const {
  const Definitions& definitions = snapshot_.active ? live_.definitions : config_.definitions;
  view.automatic = automatic(definitions.automatic, policy);
  if (!snapshot_.active) return;
  if (agent_ == AgentState::present) {
    view.guest_agent = "connected";
  } else if (qemu_agent_answers_) {
    view.guest_agent = "qemu-agent";
  } else {
    view.guest_agent = agent_ == AgentState::no_device ? "no-vsock" : agent_word_;
    view.guest_agent_reason =
        qemu_agent_problem_.empty() ? agent_reason_ : "QEMU guest agent: " + qemu_agent_problem_;
  }
  for (std::string& problem : guest_ports_.problems())
    view.problems.push_back(std::move(problem));
}

std::vector<PortView> DomainRecord::port_views() const {
  std::vector<PortView> views;
  for (const auto& [id, entry] : guest_ports_.entries()) {
    if (entry.gone) continue;
    const DetectedPort& port = entry.port;
    PortView& view = views.emplace_back();
    view.domain = snapshot_.name;
    view.uuid = snapshot_.uuid;
    view.id = id;
    view.protocol = port.protocol;
    view.port = port.port;
    view.addresses = port.addresses;
    if (port.process.pid != 0 || !port.process.name.empty())
      view.process = ProcessView{port.process.name, port.process.pid, port.process.command};
    view.user_id = port.process.uid;
    view.container = port.process.container;
    view.state = entry.decision.state;
    if (entry.decision.rule) view.rule = static_cast<std::uint32_t>(*entry.decision.rule);
    view.reason = entry.decision.reason;
    if (entry.decision.by) {
      view.rule_text = rule_text(*entry.decision.by);
      view.notify = entry.decision.by->notify;
      view.open = entry.decision.by->open;
    }
    view.source = agent_ == AgentState::present ? PortSource::agent : PortSource::qemu_agent;
    if (auto definition = served_by_definition(port)) {
      view.state = DetectedState::forwarded;
      view.reason.clear();
      view.rule.reset();
      view.rule_text.clear();
      view.forward = std::move(*definition);
    } else if (entry.decision.forward) {
      view.forward = entry.decision.forward->id;
    }
  }
  return views;
}

}  // namespace vf
