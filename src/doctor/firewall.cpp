// SPDX-License-Identifier: LGPL-2.1-or-later

#include "doctor/firewall.h"

#include <algorithm>
#include <set>

#include "doctor/check.h"
#include "doctor/words.h"

namespace vf {
namespace {

// A packet at a hook, and the words of a rule that would let it through.
struct Step {
  std::string hook;
  Packet packet;
  std::string what;           // "connections to 192.168.122.5:80", for people
  std::string nft;            // conditions
  std::string iptables = {};  // of the network's layer alone
};

std::string name_of(const FilterTable& table) {
  return table.family + ' ' + table.name;
}

std::string chain_words(const Obstacle& obstacle) {
  std::string words = "table " + name_of(*obstacle.table) + ", chain " + obstacle.chain->name;
  if (obstacle.table->tool == FilterTable::Tool::iptables_legacy) words += " (iptables-legacy)";
  return words;
}

std::string fix_of(const Obstacle& obstacle, const Step& step) {
  if (obstacle.table->tool == FilterTable::Tool::nft)
    return "nft insert rule " + name_of(*obstacle.table) + ' ' + obstacle.base->name + ' ' +
           step.nft + " accept";
  std::string program = obstacle.table->family == "ip6" ? "ip6tables" : "iptables";
  program += obstacle.table->tool == FilterTable::Tool::iptables_legacy ? "-legacy" : "-nft";
  if (obstacle.table->name != "filter") program += " -t " + obstacle.table->name;
  return program + " -I " + obstacle.base->name + ' ' + step.iptables + " -j ACCEPT";
}

Packet packet_of(const ForwardView& forward, bool v6) {
  Packet packet;
  packet.v6 = v6;
  packet.protocol = forward.protocol;
  packet.uid = 0;
  return packet;
}

std::string service(const IpAddress& address, Port port) {
  return Endpoint{address, port}.text();
}

// The same packets below: on the bridge, and on its port that leads to the guest.
void bridge_steps(Packet there, Packet back, const FirewallFacts& facts, const std::string& to,
                  std::vector<Step>& steps) {
  const std::string bridge = *there.out_link;
  const auto ports = facts.bridges.find(bridge);
  if (ports == facts.bridges.end()) return;
  std::optional<std::string> port;
  if (ports->second.size() == 1) port = ports->second.front();
  if (const auto known = facts.neighbours.find({bridge, *there.destination});
      known != facts.neighbours.end()) {
    if (!known->second.port.empty()) port = known->second.port;
    if (!known->second.mac.empty()) there.destination_mac = back.source_mac = known->second.mac;
  }
  const std::string family = there.v6 ? "ip6" : "ip";
  const std::string out = family + " daddr " + there.destination->text();
  const std::string in = family + " saddr " + there.destination->text();
  const std::string connections = "connections of this host to " + to;
  const std::string answers = "answers of " + to;
  there.layer = back.layer = Layer::device;
  steps.push_back({"egress", there, connections, out});
  steps.push_back({"ingress", back, answers, in});
  there.out_link = back.in_link = port;
  steps.push_back({"egress", there, connections, out});
  steps.push_back({"ingress", back, answers, in});
  there.layer = back.layer = Layer::bridge;
  there.out_bridge = back.in_bridge = bridge;
  for (const char* const hook : {"output", "postrouting"})
    steps.push_back({hook, there, connections, out});
  for (const char* const hook : {"prerouting", "input"})
    steps.push_back({hook, back, answers, in});
}

// From the relay to the guest, and back.
void guest_steps(const ForwardView& forward, const IpAddress& guest, const std::string& bridge,
                 const FirewallFacts& facts, std::vector<Step>& steps) {
  std::optional<IpAddress> host;
  if (const auto link = facts.links.find(bridge); link != facts.links.end())
    for (const IpAddress& address : link->second)
      if (address.is_v4() == guest.is_v4() && !host) host = address;
  Packet there = packet_of(forward, !guest.is_v4());
  there.out_link = bridge;
  there.source = host;
  there.destination = guest;
  there.destination_port = forward.guest_port;
  there.uid.reset();  // the relay's own user
  Packet back = packet_of(forward, !guest.is_v4());
  back.in_link = bridge;
  back.source = guest;
  back.destination = host;
  back.source_port = forward.guest_port;
  back.established = true;
  back.uid.reset();
  const std::string to = service(guest, *forward.guest_port);
  const std::string out = "oifname \"" + bridge + '"';
  const std::string in = "iifname \"" + bridge + "\" ct state established";
  const std::string in_old = "-i " + bridge + " -m conntrack --ctstate ESTABLISHED";
  for (const char* const hook : {"output", "postrouting"})
    steps.push_back({hook, there, "connections of this host to " + to, out, "-o " + bridge});
  for (const char* const hook : {"prerouting", "input"})
    steps.push_back({hook, back, "answers of " + to, in, in_old});
  bridge_steps(there, back, facts, to, steps);
}

// From clients to the host port.
void client_steps(const ForwardView& forward, std::vector<Step>& steps) {
  if (!forward.host_port) return;
  const std::string port = std::to_string(forward.host_port->number());
  const std::string protocol(text(forward.protocol));
  for (const IpAddress& address : forward.host_addresses) {
    Packet packet = packet_of(forward, !address.is_v4());
    packet.destination_port = forward.host_port;
    packet.uid.reset();
    if (!address.is_wildcard()) packet.destination = address;
    const std::string to = "clients of " + service(address, *forward.host_port);
    const std::string nft = protocol + " dport " + port;
    const std::string old = "-p " + protocol + " --dport " + port;
    if (!address.is_loopback()) {
      packet.in_link.reset();
      for (const char* const hook : {"prerouting", "input"})
        steps.push_back({hook, packet, to, nft, old});
      packet.layer = Layer::device;
      steps.push_back({"ingress", packet, to, nft});
      continue;
    }
    packet.source = address;
    Packet out = packet;
    out.out_link = "lo";
    steps.push_back({"output", out, to, "oifname \"lo\" " + nft, "-o lo " + old});
    packet.in_link = "lo";
    for (const char* const hook : {"prerouting", "input"})
      steps.push_back({hook, packet, to, "iifname \"lo\" " + nft, "-i lo " + old});
    packet.layer = out.layer = Layer::device;
    steps.push_back({"egress", out, to, nft});
    steps.push_back({"ingress", packet, to, nft});
  }
}

bool by_network(const ForwardView& forward) {
  return !forward.transport || *forward.transport == Transport::tcp;
}

std::vector<Step> steps_of(const SeenDomain& seen, const FirewallFacts& facts) {
  std::vector<Step> steps;
  for (const ForwardView& forward : seen.forwards) {
    if (forward.state == ForwardState::inactive || forward.state == ForwardState::disabled ||
        forward.state == ForwardState::denied)
      continue;
    client_steps(forward, steps);
    if (!forward.guest_port || !by_network(forward)) continue;
    std::vector<IpAddress> guests = seen.domain.addresses;
    if (forward.guest_address) guests = {*forward.guest_address};
    for (const IpAddress& guest : guests)
      for (const std::string& bridge : seen.domain.bridges)
        guest_steps(forward, guest, bridge, facts, steps);
  }
  return steps;
}

}  // namespace

void judge_firewall(const Seen& seen, const FirewallFacts& facts, Findings& findings) {
  bool needed = false;
  for (const SeenDaemon& daemon : seen.daemons) {
    for (const SeenDomain& domain : daemon.domains) {
      if (!domain.domain.active) continue;
      // Of each rule once, for the first forward that it is in the way of.
      std::set<std::pair<const void*, const void*>> told;
      for (const Step& step : steps_of(domain, facts)) {
        needed = true;
        for (const Obstacle& obstacle : obstacles(facts.tables, step.hook, step.packet)) {
          if (!told.insert({obstacle.base, obstacle.rule}).second) continue;
          const std::string culprit = obstacle.rule ? "a rule (" + obstacle.rule->text + ')'
                                                    : std::string("the policy \"drop\"");
          findings.push_back({FindingId::firewall_drops,
                              obstacle.certain ? Severity::error : Severity::warning,
                              domain.domain.name,
                              culprit + " of " + chain_words(obstacle) +
                                  (obstacle.certain ? " swallows " : " may swallow ") + step.what,
                              fix_of(obstacle, step)});
        }
      }
    }
  }
  if (!needed) return;
  for (const Error& error : facts.unread)
    findings.push_back({FindingId::firewall, Severity::not_checked, "packet filters", error.message,
                        "sudo virt-forward doctor"});
}

void check_firewall(const Seen& seen, Findings& findings) {
  const bool any = std::ranges::any_of(
      seen.daemons, [](const SeenDaemon& daemon) { return !daemon.domains.empty(); });
  if (any) judge_firewall(seen, read_firewall(), findings);
}

}  // namespace vf
