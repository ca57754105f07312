// SPDX-License-Identifier: LGPL-2.1-or-later
//
// Reconciler: what a relay was found holding, after either of the two was restarted, is taken over
// or given back.

#include <algorithm>
#include <utility>

#include "base/listening_socket.h"
#include "daemon/reconciler.h"

namespace vf {
namespace {

constexpr std::chrono::seconds assumption_time{5};
constexpr std::chrono::seconds claiming_time{15};

RelayRoute route_of(const RelayForward& forward) {
  return {forward.target.endpoints, forward.max_connections, forward.max_domain_connections,
          forward.proxy_protocol, forward.idle_timeout};
}

// What was proven for the daemon before.
void take_proof(BoundForward& bound, const HeldForward& held) {
  const auto& endpoints = held.forward.target.endpoints;
  if (!held.proven || *held.proven >= endpoints.size()) return;
  bound.proven = true;
  bound.hop = *held.proven;
  bound.proven_by = endpoints[*held.proven];
}

}  // namespace

void Reconciler::adopt_held(DomainRecord& record, const std::vector<DesiredForward>& desired) {
  if (unclaimed_.empty()) return;
  for (const DesiredForward& forward : desired) {
    const auto found = unclaimed_.find(forward.key);
    if (found == unclaimed_.end()) continue;
    if (!record.snapshot().active || !adopt_one(record, forward, found->second)) continue;
    unclaimed_.erase(found);
  }
}

// Whether the listeners are what would be bound for this forward, now or earlier in this run.
bool Reconciler::adopt_one(DomainRecord& record, const DesiredForward& desired, HeldForward& held) {
  if (held.forward.protocol != relay_protocol(desired.claim.protocol)) return false;
  if (!desired.claim.socket.empty()) return adopt_socket(record, desired, held);
  std::vector<IpAddress> addresses;
  std::optional<Port> port;
  for (const Fd& listener : held.listeners) {
    const auto local = local_endpoint(listener);
    if (!local || (port && *port != local->port)) return false;
    port = local->port;
    addresses.push_back(local->address);
  }
  const auto& claimed = desired.claim.addresses;
  const bool without_ipv6 = desired.claim.default_addresses && addresses.size() == 1 &&
                            addresses.front() == IpAddress::loopback4();
  if (!port || (!without_ipv6 && !std::ranges::is_permutation(addresses, claimed))) return false;
  if (desired.claim.port && desired.claim.port != port) {
    const auto hint = hints_.find(desired.key, record.snapshot().id);
    const bool moved_in_this_run = desired.claim.on_busy != OnBusy::fail && hint &&
                                   hint->requested == desired.claim.port && hint->port == *port &&
                                   hint->protocol == desired.claim.protocol;
    if (!moved_in_this_run) return false;
  }
  const auto id = split_key(desired.key)->second;
  if (record.bound.contains(id)) return false;
  const RelayRoute route = route_of(held.forward);
  // Clients that come before the guest's addresses are known anew go on as before.
  if (hints_.find(desired.key, record.snapshot().id)) {
    record.assume_addresses(route.endpoints);
    record.assumption_timeout = after(assumption_time, [this, uuid = record.snapshot().uuid] {
      if (DomainRecord* domain = this->domain(uuid)) domain->drop_assumed_addresses();
      reconcile({uuid});
    });
  }
  record.bound.emplace(id, BoundForward{{desired.key, desired.claim, *port, route, true},
                                        std::move(addresses),
                                        std::move(held.listeners)});
  BoundForward& adopted = record.bound.at(id);
  take_proof(adopted, held);
  remember_port(record, adopted.actual);
  return true;
}

bool Reconciler::adopt_socket(DomainRecord& record, const DesiredForward& desired,
                              HeldForward& held) {
  const auto id = split_key(desired.key)->second;
  if (held.listeners.size() != 1 || record.bound.contains(id)) return false;
  auto file = SocketFile::adopt(desired.claim.socket);
  if (!file || local_path(held.listeners.front()) != desired.claim.socket) return false;
  BoundForward bound{{desired.key, desired.claim, {}, route_of(held.forward), true}, {}, {}};
  bound.listeners = std::move(held.listeners);
  bound.file = std::move(file);
  take_proof(bound, held);
  record.bound.emplace(id, std::move(bound));
  return true;
}

// An automatic forward of a guest that has not yet told what listens in it.
bool Reconciler::may_be_claimed(const std::string& key) {
  const auto parts = split_key(key);
  const DomainRecord* const record = parts ? domain(parts->first) : nullptr;
  return claiming_ && record && parts->second.starts_with(automatic_prefix) &&
         record->agent() != AgentState::no_device && !record->guest_ports().known();
}

void Reconciler::drop_unclaimed() {
  if (!relay_ || !relay_->ready()) return;
  std::vector<std::string> dropped;
  std::erase_if(unclaimed_, [&](const auto& item) {
    if (may_be_claimed(item.first)) return false;
    relay_->remove(item.first, Relay::Removal::cut);
    dropped.push_back(item.first);
    return true;
  });
  offloads_.cut(dropped);
  if (!dropped.empty())
    relay_->commit([this] {
      reconcile(all());
      retry_failures();
    });
}

// Everything, with what the relay holds taken over or given back before anything is bound: under
// the same key a new port may be wanted, and the same port under another key.
void Reconciler::reconcile_held() {
  for (auto& [uuid, record] : records_)
    if (!unclaimed_.empty() && relay_answered()) adopt_held(record, record.desired(ways_, policy_));
  if (unclaimed_.empty() || !relay_ || !relay_->ready()) return reconcile(all());
  claiming_ = after(claiming_time, [this] {
    claiming_.reset();
    drop_unclaimed();
    layers_settled();
  });
  const std::size_t held = unclaimed_.size();
  drop_unclaimed();
  if (unclaimed_.size() == held) reconcile(all());
}

}  // namespace vf
