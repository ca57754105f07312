// SPDX-License-Identifier: LGPL-2.1-or-later
//
// DomainRecord: by which ways its forwards are served, and how those that were not taken look.

#include <algorithm>
#include <utility>

#include "daemon/domain_record.h"

namespace vf {

Result<SshAccount> ssh_account(const std::optional<SshDefinition>& given, const Policy& policy) {
  if (!given)
    return Unexpected(ErrorCode::not_supported,
                      "the domain's metadata has no <ssh>, whose account could be used");
  SshAccount account;
  account.user = given->user;
  if (given->port) account.port = *given->port;
  account.key_name = given->identity;
  if (given->identity.empty() && policy.own_ssh_keys) return account;
  const auto key = policy.ssh_keys.find(given->identity.empty() ? "default" : given->identity);
  if (key == policy.ssh_keys.end())
    return Unexpected(ErrorCode::not_allowed,
                      (given->identity.empty()
                           ? "<ssh> names no identity, and the host's policy has no key \"default\""
                           : "the host's policy has no ssh key \"" + given->identity + '"') +
                          ": [ssh-keys] in virt-forward.conf lists them");
  account.key_path = key->second;
  return account;
}

bool DomainRecord::awaits_better() const {
  if (agent_ == AgentState::absent && agent_word_ == agent_connecting) return true;
  return better_awaited_ && (agent_ == AgentState::absent || live_.definitions.ssh);
}

TunnelOrder DomainRecord::tunnel_order(const TunnelTransport& way, Ways ways,
                                       const Policy& policy) const {
  TunnelOrder order;
  order.uuid = snapshot_.uuid;
  if (!snapshot_.active || !snapshot_.serving || !snapshot_.id) return order;
  order.run = *snapshot_.id;
  const GuestReach reached = reach(policy);
  const bool by_ssh = way.kind() == Transport::ssh;
  const TunnelReach& given = by_ssh ? reached.ssh : reached.usernet;
  if (!given.given || given.missing || !policy.allows(way.kind())) return order;
  order.addresses = addresses_;
  order.cid = snapshot_.vsock_cid;
  if (by_ssh) order.ssh = *ssh_account(live_.definitions.ssh, policy);
  for (const GuestInterface& interface : snapshot_.interfaces)
    if (!by_ssh && interface.type == "user" && interface.backend.empty())
      order.user_nets.push_back(interface.alias);
  for (const SingleForward& single : wanted_) {
    const bool admitted =
        single.spec.transport == Transport::automatic || single.spec.transport == way.kind();
    if (single.refused || !admitted) continue;
    const auto target = way.target(reached, single.spec);
    if (!target) continue;
    const auto is_better = [&](const Hop& hop) { return hop.transport != way.kind(); };
    const bool by_choice = single.spec.transport == Transport::automatic;
    if (way.last_resort() && by_choice &&
        (awaits_better() ||
         std::ranges::any_of(choose_route(ways, policy, reached, single.spec).route, is_better)))
      continue;
    order.targets.insert(*target);
  }
  return order;
}

std::string DomainRecord::impossible(const SingleForward& forward, Ways ways,
                                     const Policy& policy) const {
  if (forward.spec.transport == Transport::automatic || !snapshot_.active || !snapshot_.serving)
    return {};
  const RouteChoice choice = choose_route(ways, policy, reach(policy), forward.spec);
  const bool may_come = !choice.route.empty() || choice.rejected.empty() ||
                        choice.rejected.front().reason.code == ErrorCode::failed;
  return may_come ? std::string() : choice.missing();
}

OffloadRequest DomainRecord::offload_request(const SingleForward& forward,
                                             const Route& route) const {
  OffloadRequest request;
  request.key = key(forward.id);
  request.spec = &forward.spec;
  const auto held = bound.find(forward.id);
  if (held == bound.end()) return request;
  request.host_addresses = held->second.addresses;
  request.host_port = held->second.actual.port;
  if (!snapshot_.active || !snapshot_.serving || !held->second.actual.served)
    request.obstacle = "the forward is not active";
  else if (snapshot_.paused)
    request.obstacle = "the domain is paused: the relay lets clients wait";
  else if (withdrawn(forward))
    request.obstacle = "the service has ended";
  else if (held->second.failing != 0)
    request.obstacle = "the last connection did not get through";
  const auto& by = held->second.proven_by;
  if (!by) return request;
  const auto hop = std::ranges::find(route, *by, &Hop::endpoint);
  if (hop == route.end()) return request;
  if (hop->transport != Transport::tcp) {
    request.obstacle = "connections go by " + std::string(text(hop->transport));
    return request;
  }
  request.guest = std::get<Endpoint>(*by);
  std::set<std::string> bridges;
  for (const GuestInterface& interface : snapshot_.interfaces)
    if (!interface.bridge.empty()) bridges.insert(interface.bridge);
  request.link = bridges.size() == 1 ? *bridges.begin() : link_towards(*request.guest);
  return request;
}

Offloads::Wanted DomainRecord::wanted_offloads(const Offloads& offloads, Ways ways,
                                               const Policy& policy,
                                               const std::set<std::string>& leaving) const {
  Offloads::Wanted wanted;
  const GuestReach reached = reach(policy);
  for (const SingleForward& single : wanted_) {
    const auto held = bound.find(single.id);
    if (single.refused || held == bound.end() || !held->second.proven_by ||
        leaving.contains(single.id))
      continue;
    const RouteChoice choice = choose_route(ways, policy, reached, single.spec);
    OffloadChoice taken = offloads.choose(offload_request(single, choice.route), policy);
    if (taken.kind != Offload::none) wanted.emplace(key(single.id), std::move(taken));
  }
  return wanted;
}

// Why the last connection by a tunnel did not reach the guest's service; empty where none failed.
std::string DomainRecord::refusal(const SingleForward& forward, Transport used,
                                  const Judges& by) const {
  const auto refused = refusals_.find(used);
  if (refused == refusals_.end() || refused->second.empty()) return {};
  for (const auto& way : by.ways) {
    const auto* const tunnels = dynamic_cast<const TunnelTransport*>(way.get());
    if (!tunnels || way->kind() != used) continue;
    const auto target = tunnels->target(by.reach, forward.spec);
    const auto found = target ? refused->second.find(*target) : refused->second.end();
    if (found != refused->second.end()) return found->second;
  }
  return {};
}

void DomainRecord::describe_ways(ForwardView& view, const SingleForward& forward,
                                 const RouteChoice& choice, const Judges& by) const {
  const BoundForward& held = bound.at(forward.id);
  const std::size_t hop = choice.route.empty() ? 0 : std::min(held.hop, choice.route.size() - 1);
  for (const auto& way : by.ways) {
    const auto is_it = [&](const Hop& one) { return one.transport == way->kind(); };
    const auto rejected =
        std::ranges::find(choice.rejected, way->kind(), &RouteChoice::Rejection::way);
    WayView one{std::string(text(way->kind())), WayState::ready, {}};
    if (rejected != choice.rejected.end()) {
      one.state = WayState::rejected;
      one.reason = rejected->reason.message;
    } else if (!std::ranges::any_of(choice.route, is_it)) {
      one.state = WayState::rejected;
      one.reason = "transport=\"" + std::string(text(forward.spec.transport)) + '"';
    } else if (is_it(choice.route[hop])) {
      one.state = WayState::used;
    }
    view.ways.push_back(std::move(one));
  }
  auto judged = by.offloads.choose(offload_request(forward, choice.route), by.policy);
  const Offload applied = by.offloads.applied(key(forward.id));
  for (WayView& way : judged.ways) {
    if (way.state == WayState::used && parse<Offload>(way.way) != applied)
      way = {way.way, WayState::rejected, "it is about to be applied"};
    view.ways.push_back(std::move(way));
  }
}

}  // namespace vf
