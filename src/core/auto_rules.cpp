// SPDX-License-Identifier: LGPL-2.1-or-later

#include "core/auto_rules.h"

#include <algorithm>
#include <array>
#include <map>
#include <tuple>

#include "core/glob.h"

namespace vf {
namespace {

// What a guest needs for itself: DNS, DHCP, NTP, chrony, DHCPv6, mDNS, LLMNR and our agent.
constexpr std::array<std::uint16_t, 10> infrastructure_ports{53,  67,  68,   123,  323,
                                                             546, 547, 1010, 5353, 5355};

// Only root's services are below; the host's user could not take these either.
constexpr std::uint16_t first_free_port = 1024;
constexpr std::uint16_t low_port_offset = 8000;

// An IPv4 listener that shows as IPv6 is what it was.
IpAddress plain(const IpAddress& address) {
  const auto mapped = IpAddress::parse("::ffff:0.0.0.0");
  if (address.is_v4() || !address.in_subnet(*mapped, 96)) return address;
  return *IpAddress::from_bytes(address.bytes().subspan(12));
}

bool has_partner(const IpAddress& address) {
  return address.is_wildcard() || address == IpAddress::loopback4() ||
         address == IpAddress::loopback6();
}

bool listens_on(const DetectedPort& port, const IpAddress& address) {
  return std::find(port.addresses.begin(), port.addresses.end(), address) != port.addresses.end();
}

bool address_matches(const AutoRule& rule, const DetectedPort& port) {
  if (!rule.guest_address) return true;
  if (rule.guest_address->is_wildcard()) return port.wildcard();
  if (port.wildcard()) return rule.action != RuleAction::block && rule.action != RuleAction::ignore;
  return listens_on(port, *rule.guest_address) || (*rule.guest_address == IpAddress::loopback4() &&
                                                   listens_on(port, IpAddress::loopback6()));
}

bool infrastructure(Port port) {
  return std::find(infrastructure_ports.begin(), infrastructure_ports.end(), port.number()) !=
         infrastructure_ports.end();
}

bool names_port(const AutoRule& rule, Port port) {
  return rule.guest_port && *rule.guest_port == PortRange(port);
}

bool matches(const AutoRule& rule, const DetectedPort& port) {
  if (rule.protocol != port.protocol) return false;
  if (rule.guest_port && !rule.guest_port->contains(port.port)) return false;
  if (!address_matches(rule, port)) return false;
  if (!rule.process.empty() && !glob_matches(rule.process, port.process.name)) return false;
  if (!rule.command.empty() && !glob_matches(rule.command, port.process.command)) return false;
  const bool opens = rule.action == RuleAction::forward || rule.action == RuleAction::ask;
  return !opens || !infrastructure(port.port) || names_port(rule, port.port);
}

Port guessed_port(Port guest) {
  if (guest.number() >= first_free_port) return guest;
  return *Port::from(guest.number() + low_port_offset);
}

SingleForward forward_of(const AutoRule& rule, const DetectedPort& port, const Policy& policy) {
  ForwardDefinition spec;
  spec.guest = PortRange(port.port);
  spec.protocol = port.protocol;
  if (!has_partner(port.addresses.front())) spec.guest_address = port.addresses.front();
  spec.host = rule.host;
  if (const auto* ports = std::get_if<PortRange>(&rule.host); ports && rule.guest_port)
    spec.host = PortRange(ports->at(port.port.number() - rule.guest_port->low().number()));
  spec.host_address = rule.host_address;
  spec.on_busy = rule.on_busy;
  spec.transport = rule.transport;
  spec.offload = rule.offload;
  spec.label = rule.label;
  spec.scheme = rule.scheme;

  const std::string id = "auto:" + port.id();
  SingleForward forward = single_forward(id, id, std::move(spec), policy);
  forward.origin = Origin::automatic;
  if (std::holds_alternative<std::monostate>(rule.host)) {
    forward.claim.port = guessed_port(port.port);
    forward.claim.guess = true;
  }
  return forward;
}

std::string why_off(const std::optional<AutoDefinition>& definition, const Policy& policy) {
  const bool by_domain = definition && definition->enabled == AutoMode::no;
  return "automatic forwarding is off for this domain (" +
         (by_domain ? "enabled=\"no\" of <auto>" : policy.origin("host", "automatic")) + ')';
}

}  // namespace

std::string DetectedPort::id() const {
  const IpAddress& first = addresses.front();
  std::string id = std::string(text(protocol)) + ':';
  if (!first.is_wildcard()) id += (has_partner(first) ? "localhost" : first.text()) + '=';
  return id + std::to_string(port.number());
}

std::vector<DetectedPort> detected_ports(std::span<const GuestListener> listeners) {
  // Partners share a place; within it IPv4 comes first.
  using Place = std::tuple<Protocol, Port, bool, IpAddress>;
  std::map<Place, std::map<IpAddress, const GuestListener*, std::less<>>> places;
  for (const GuestListener& listener : listeners) {
    const IpAddress address = plain(listener.key.address);
    IpAddress place = address;
    if (address.is_wildcard()) place = IpAddress::v4({0, 0, 0, 0});
    if (address == IpAddress::loopback6()) place = IpAddress::loopback4();
    places[{listener.key.udp ? Protocol::udp : Protocol::tcp, listener.key.port, !place.is_v4(),
            place}]
        .emplace(address, &listener);
  }
  const auto v4_first = [](const IpAddress& left, const IpAddress& right) {
    return std::pair(!left.is_v4(), left) < std::pair(!right.is_v4(), right);
  };
  std::vector<DetectedPort> ports;
  for (const auto& [place, found] : places) {
    DetectedPort& port = ports.emplace_back();
    port.protocol = std::get<Protocol>(place);
    port.port = std::get<Port>(place);
    for (const auto& [address, listener] : found)
      port.addresses.push_back(address);
    std::sort(port.addresses.begin(), port.addresses.end(), v4_first);
    port.process = *found.at(port.addresses.front());
    port.process.key = {};
  }
  return ports;
}

bool automatic(const std::optional<AutoDefinition>& definition, const Policy& policy) {
  const AutoMode mode = definition ? definition->enabled : AutoMode::policy;
  return mode == AutoMode::policy ? policy.automatic : mode == AutoMode::yes;
}

AutoDecision decide(const std::optional<AutoDefinition>& definition, const Policy& policy,
                    const DetectedPort& port) {
  static const AutoRule no_rule;
  AutoDecision decision;
  if (definition) {
    const std::vector<AutoRule>& rules = definition->rules;
    const auto rule = std::find_if(rules.begin(), rules.end(), [&](const AutoRule& candidate) {
      return matches(candidate, port);
    });
    if (rule != rules.end()) {
      decision.by = *rule;
      decision.rule = static_cast<std::size_t>(rule - rules.begin()) + 1;
    }
  }
  const auto end_as = [&](DetectedState state, std::string reason) {
    decision.state = state;
    decision.reason = std::move(reason);
    return decision;
  };
  const std::string by_rule =
      decision.rule ? "rule " + std::to_string(*decision.rule) : std::string();
  const RuleAction action = decision.by ? decision.by->action : RuleAction::forward;

  if (action == RuleAction::block) return end_as(DetectedState::blocked, by_rule + " blocks it");
  if (!automatic(definition, policy)) {
    decision.by.reset();
    decision.rule.reset();
    return end_as(DetectedState::ignored, why_off(definition, policy));
  }
  if (action == RuleAction::ignore) return end_as(DetectedState::ignored, by_rule + " ignores it");
  if (action == RuleAction::ask)
    return end_as(DetectedState::asking, by_rule + " wants to be asked about it");
  if (!decision.by) {
    const std::string number = std::to_string(port.port.number());
    const std::string protocol(text(port.protocol));
    if (infrastructure(port.port))
      return end_as(DetectedState::denied,
                    protocol + " port " + number +
                        " is of the guest's own infrastructure: only a rule with guest-port=\"" +
                        number + "\" forwards it");
    if (port.protocol == Protocol::udp)
      return end_as(DetectedState::ignored,
                    "udp is forwarded only where a rule says protocol=\"udp\"");
  }
  decision.state = DetectedState::forwarded;
  decision.forward = forward_of(decision.by ? *decision.by : no_rule, port, policy);
  if (decision.forward->refused == ForwardState::denied)
    return end_as(DetectedState::denied, decision.forward->reason);
  return decision;
}

PortRange same_part(PortRange host, PortRange whole, PortRange part) {
  const std::uint32_t offset = part.low().number() - whole.low().number();
  return *PortRange::from(host.at(offset), host.at(offset + part.width() - 1));
}

AutoRule allowing_rule(const AutoRule* asking, Protocol protocol, PortRange ports,
                       std::string_view process) {
  AutoRule rule;
  if (asking) rule = *asking;
  rule.action = RuleAction::forward;
  rule.marked = true;
  rule.protocol = protocol;
  if (!process.empty()) {
    rule.process = literal_glob(process);
    return rule;
  }
  if (auto* host = std::get_if<PortRange>(&rule.host); host && rule.guest_port)
    *host = same_part(*host, *rule.guest_port, ports);
  rule.guest_port = ports;
  rule.guest_address.reset();
  rule.process.clear();
  rule.command.clear();
  return rule;
}

}  // namespace vf
