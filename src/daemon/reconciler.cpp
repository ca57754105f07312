// SPDX-License-Identifier: LGPL-2.1-or-later

#include "daemon/reconciler.h"

#include <sys/stat.h>

#include <algorithm>
#include <utility>

#include "daemon/journal.h"
#include "daemon/memory.h"

namespace vf {
namespace {

constexpr std::chrono::seconds first_retry{1};
constexpr std::chrono::seconds longest_retry{30};

std::int64_t unix_now() {
  return g_get_real_time() / G_USEC_PER_SEC;
}

std::vector<int> numbers(const std::vector<Fd>& fds) {
  std::vector<int> result;
  for (const Fd& fd : fds)
    result.push_back(fd.get());
  return result;
}

// Of a DesiredForward or an ActualForward.
RelayForward relay_forward(const auto& from) {
  const RelayRoute& route = from.route;
  RelayForward forward;
  forward.key = from.key;
  forward.target.endpoints = route.endpoints;
  forward.max_connections = route.max_connections;
  forward.protocol = relay_protocol(from.claim.protocol);
  forward.max_domain_connections = route.max_domain_connections;
  forward.proxy_protocol = route.proxy_protocol;
  forward.idle_timeout = route.idle_timeout;
  return forward;
}

// By which of them the last connection got through; the first where it was by none of them.
std::size_t place_of(const std::optional<RelayEndpoint>& proven,
                     const std::vector<RelayEndpoint>& endpoints) {
  const auto found = proven ? std::ranges::find(endpoints, *proven) : endpoints.end();
  return found == endpoints.end() ? 0 : static_cast<std::size_t>(found - endpoints.begin());
}

bool same_sockets(const std::vector<Fd>& left, const std::vector<Fd>& right) {
  return std::ranges::equal(left, right, [](const Fd& one, const Fd& other) {
    struct stat first {};
    struct stat second {};
    return fstat(one.get(), &first) == 0 && fstat(other.get(), &second) == 0 &&
           first.st_dev == second.st_dev && first.st_ino == second.st_ino;
  });
}

}  // namespace

Reconciler::Reconciler(Policy policy, PortBinder& binder, PortHints& hints, ForwardTable& table)
    : policy_(std::move(policy)), binder_(binder), hints_(hints), table_(table) {
  ways_.push_back(std::make_unique<TcpTransport>());
  ways_.push_back(std::make_unique<VsockTransport>());
  ways_.push_back(std::make_unique<SshTransport>());
  ways_.push_back(std::make_unique<UsernetTransport>());
}

// Forwards stay with the relay, and so do the files of their sockets.
Reconciler::~Reconciler() {
  for (auto& [uuid, record] : records_)
    for (auto& [id, forward] : record.bound)
      if (forward.file) forward.file->release();
}

void Reconciler::set_policy(Policy policy) {
  policy_ = std::move(policy);
  for (auto& [uuid, record] : records_)
    record.judge(policy_, g_get_monotonic_time());
  reconcile(all());
}

DomainRecord* Reconciler::domain(const std::string& uuid) {
  const auto found = records_.find(uuid);
  return found == records_.end() || !found->second.known() ? nullptr : &found->second;
}

Reconciler::Uuids Reconciler::all() const {
  Uuids uuids;
  for (const auto& [uuid, record] : records_)
    uuids.insert(uuid);
  return uuids;
}

BoundForward* Reconciler::bound(const std::string& key) {
  const auto parts = split_key(key);
  if (!parts) return nullptr;
  const auto record = records_.find(parts->first);
  if (record == records_.end()) return nullptr;
  const auto found = record->second.bound.find(parts->second);
  return found == record->second.bound.end() ? nullptr : &found->second;
}

// Until the relay has said what it holds, a port that it serves would look busy.
bool Reconciler::relay_answered() const {
  return !relay_ || relay_->ready() || relay_answered_;
}

// --- desired against actual ----------------------------------------------------------------------

void Reconciler::reconcile(const Uuids& uuids) {
  std::vector<DesiredForward> desired;
  std::vector<ActualForward> actual;
  for (const std::string& uuid : uuids) {
    const auto found = records_.find(uuid);
    if (found == records_.end()) continue;
    DomainRecord& record = found->second;
    if (record.snapshot().active && !relay_answered()) continue;
    auto wanted = record.desired(ways_, policy_);
    adopt_held(record, wanted);
    for (const auto& [id, bound] : record.bound)
      actual.push_back(bound.actual);
    std::set<std::string_view> wanted_keys;
    for (const DesiredForward& forward : wanted)
      wanted_keys.insert(forward.key);
    std::erase_if(record.failures, [&](const auto& failure) {
      return !wanted_keys.contains(record.key(failure.first));
    });
    std::ranges::move(wanted, std::back_inserter(desired));
  }

  Plan plan = vf::plan(desired, actual);
  shrink_offloads(uuids, plan);
  std::erase_if(plan.bind, [this](const DesiredForward& one) { return take_from_guess(one); });
  std::erase_if(plan.remove, [this](const std::string& key) { return !bound(key); });
  // Until the relay has let go of a port it is busy.
  const std::uint64_t removal = ++removals_;
  for (const std::string& key : plan.remove)
    if (const BoundForward* forward = bound(key); forward->actual.served)
      letting_go_.emplace_back(removal, forward->actual);
  apply_removals(plan.remove);
  remember_ports(uuids);
  bool must_wait = false;
  for (const DesiredForward& forward : plan.bind) {
    const bool may_be_busy = std::ranges::any_of(letting_go_, [&](const auto& pending) {
      const ActualForward& one = pending.second;
      return one.key == forward.key || !one.port || one.port == forward.claim.port;
    });
    if (may_be_busy && relay_ && relay_->ready())
      must_wait = true;
    else
      apply_binding(forward);
  }
  for (const DesiredForward& forward : plan.serve)
    if (BoundForward* held = bound(forward.key)) hand_to_relay(*held, forward);
  for (const DesiredForward& forward : plan.update) {
    BoundForward* held = bound(forward.key);
    if (!held) continue;
    if (held->actual.route.endpoints != forward.route.endpoints) {
      held->failing = 0;
      held->hop = place_of(held->proven_by, forward.route.endpoints);
    }
    held->actual.route = forward.route;
    if (relay_) relay_->update(relay_forward(forward));
  }
  for (const std::string& key : plan.withdraw)
    withdraw(key);
  if (must_wait)
    relay_->commit([this, uuids, removal] {
      let_go_until(removal);
      reconcile(uuids);
      retry_failures();
    });
  else if (relay_)
    relay_->commit(plan.remove.empty() ? std::function<void()>() : [this, removal] {
      let_go_until(removal);
      retry_failures();
    });
  grow_offloads(uuids);
  order_tunnels(uuids);
  publish(uuids);
  plan_retry();
}

// The relay has applied all removals up to this one.
void Reconciler::let_go_until(std::uint64_t removal) {
  std::erase_if(letting_go_, [&](const auto& pending) { return pending.first <= removal; });
}

void Reconciler::apply_removals(const std::vector<std::string>& keys) {
  std::vector<std::string> cut;
  for (const std::string& key : keys) {
    const auto parts = split_key(key);
    DomainRecord& record = records_.at(parts->first);
    const BoundForward& held = record.bound.at(parts->second);
    const bool drain = record.draining.erase(parts->second) != 0;
    if (held.actual.served && relay_)
      relay_->remove(key, drain ? Relay::Removal::drain : Relay::Removal::cut);
    if (drain)
      offloads_.let_go(key);
    else
      cut.push_back(key);
    record.bound.erase(parts->second);
  }
  offloads_.cut(cut);
}

// What was bound while the start was prepared has its run only now.
void Reconciler::remember_ports(const Uuids& uuids) {
  for (const std::string& uuid : uuids) {
    const auto found = records_.find(uuid);
    if (found == records_.end() || !found->second.snapshot().id) continue;
    for (const auto& [id, forward] : found->second.bound)
      remember_port(found->second, forward.actual);
  }
}

void Reconciler::apply_binding(DesiredForward forward) {
  const auto parts = split_key(forward.key);
  DomainRecord& record = records_.at(parts->first);
  const std::string& id = parts->second;
  const auto failed_before = record.failures.find(id);
  if (failed_before != record.failures.end() && failed_before->second.claim == forward.claim &&
      failed_before->second.next_try > unix_now())
    return;

  const auto hint = hints_.find(forward.key, record.snapshot().id);
  const bool same_request =
      hint && hint->requested == forward.claim.port && hint->protocol == forward.claim.protocol;
  auto outcome = allocate(forward.claim, same_request ? std::optional(hint->port) : std::nullopt,
                          policy_, binder_);
  if (!outcome) {
    BindFailure& failure = record.failures[id];
    failure.claim = forward.claim;
    failure.error = named_holder(outcome.error(), forward.claim);
    failure.delay = std::clamp(failure.delay * 2, first_retry, longest_retry);
    failure.next_try = unix_now() + failure.delay.count();
    return;
  }
  record.failures.erase(id);
  BoundForward& held =
      record.bound
          .emplace(id, BoundForward{{forward.key, forward.claim, outcome->port, {}, false},
                                    std::move(outcome->addresses),
                                    std::move(outcome->listeners),
                                    std::move(outcome->file)})
          .first->second;
  if (forward.serve) hand_to_relay(held, forward);
  remember_port(record, held.actual);
}

void Reconciler::remember_port(const DomainRecord& record, const ActualForward& forward) {
  const auto run = record.snapshot().id;
  if (run && forward.port)
    hints_.remember(forward.key, {*run, forward.claim.port, *forward.port, forward.claim.protocol});
}

// Which forward of ours has the claimed port, in words; empty where it is none of them.
std::string Reconciler::holder_of(const HostClaim& claim) const {
  if (!claim.port) return {};
  for (const auto& [uuid, record] : records_)
    for (const auto& [id, held] : record.bound)
      if (held.actual.claim.protocol == claim.protocol && held.actual.port == *claim.port &&
          std::ranges::find_first_of(held.addresses, claim.addresses) != held.addresses.end())
        return "the forward \"" + id + "\" of domain \"" + record.snapshot().name + '"';
  return {};
}

void Reconciler::hand_to_relay(BoundForward& held, const DesiredForward& forward) {
  held.actual.route = forward.route;
  if (!relay_ || !relay_->ready()) return;
  if (!resume(held)) return;
  relay_->add(relay_forward(forward), numbers(held.listeners));
  held.actual.served = true;
}

void Reconciler::publish(const Uuids& uuids) {
  for (const std::string& uuid : uuids) {
    const auto found = records_.find(uuid);
    if (found != records_.end() && found->second.known())
      table_.set_domain(found->second.view(policy_),
                        found->second.forward_views(ways_, policy_, offloads_),
                        found->second.port_views());
  }
}

void Reconciler::plan_retry() {
  std::optional<std::int64_t> next;
  for (const auto& [uuid, record] : records_)
    for (const auto& [id, failure] : record.failures)
      next = std::min(next.value_or(failure.next_try), failure.next_try);
  retry_.reset();
  if (!next) return;
  const std::chrono::seconds delay(std::max<std::int64_t>(*next - unix_now(), 0));
  retry_ = after(delay, [this] {
    Uuids uuids;
    for (const auto& [uuid, record] : records_)
      if (!record.failures.empty()) uuids.insert(uuid);
    reconcile(uuids);
  });
}

// A port was given back: whoever waits for one may try at once.
void Reconciler::retry_failures() {
  Uuids uuids;
  for (auto& [uuid, record] : records_)
    for (auto& [id, failure] : record.failures) {
      if (failure.error.code != ErrorCode::port_busy) continue;
      failure.next_try = 0;
      uuids.insert(uuid);
    }
  if (!uuids.empty()) reconcile(uuids);
}

// --- news from the relay -------------------------------------------------------------------------

void Reconciler::relay_kept(std::map<std::string, Fd> kept) {
  offloads_.relay_ready(std::move(kept));
  for (const auto& [name, fd] : offloads_.keepsakes())
    relay_->keep(name, fd);
}

void Reconciler::relay_ready(std::vector<HeldForward> held) {
  relay_answered_ = true;
  table_.set_relay_connected(true);
  for (auto& [uuid, record] : records_)
    for (auto& [id, forward] : record.bound)
      forward.actual.served = false;
  unclaimed_.clear();
  for (HeldForward& forward : held) {
    // What this daemon has bound by itself it hands over anew, but a relay that took over from
    // another has it already, and connections: there only the route is told again.
    BoundForward* const ours = bound(forward.forward.key);
    if (!ours) {
      unclaimed_.emplace(forward.forward.key, std::move(forward));
    } else if (same_sockets(ours->listeners, forward.listeners)) {
      ours->actual.served = true;
      ours->actual.route = {};
    } else {
      relay_->remove(forward.forward.key, Relay::Removal::cut);
    }
  }
  guests_.lost_all();
  if (synced_)
    reconcile_held();
  else
    relay_->commit();
  tell_relay_answered();
}

void Reconciler::relay_lost(const std::string& reason) {
  log(LogLevel::warning, "relay lost", {{"reason", reason}});
  const bool first = !std::exchange(relay_answered_, true);
  table_.set_relay_connected(false);
  for (auto& [uuid, record] : records_)
    for (auto& [id, forward] : record.bound)
      forward.actual.served = false;
  for (const std::string& uuid : all())
    agent_away(uuid, "connecting", "the relay is not running");
  if (!first) return publish(all());
  reconcile(all());
  tell_relay_answered();
}

void Reconciler::forward_proven(const std::string& key, std::size_t hop) {
  BoundForward* forward = bound(key);
  if (!forward) return;
  const auto& endpoints = forward->actual.route.endpoints;
  const auto by = hop < endpoints.size() ? std::optional(endpoints[hop]) : forward->proven_by;
  const bool known = forward->proven && forward->proven_by == by;
  if (known && forward->failing == 0 && forward->hop == hop) return;
  forward->proven = true;
  forward->hop = hop;
  forward->failing = 0;
  forward->proven_by = by;
  refresh_offloads(split_key(key)->first);
}

void Reconciler::forward_failing(const std::string& key, int error_number) {
  BoundForward* forward = bound(key);
  if (!forward || !forward->actual.served || forward->failing == error_number) return;
  const bool silence = error_number == ETIMEDOUT || error_number == EHOSTUNREACH;
  if (silence && records_.at(split_key(key)->first).snapshot().paused) return;
  forward->failing = error_number;
  refresh_offloads(split_key(key)->first);
}

// A connection past the relay did not get through. The next ones go to the relay, which is asked to
// tell anew whether it gets through.
void Reconciler::short_cut_failing(const std::string& key, int error_number) {
  BoundForward* forward = bound(key);
  if (!forward) return;
  forward->proven_by.reset();
  if (error_number != 0) forward->failing = error_number;
  refresh_offloads(split_key(key)->first);
  if (!relay_) return;
  relay_->update(relay_forward(forward->actual));
  relay_->commit();
}

// --- news from libvirt ---------------------------------------------------------------------------

void Reconciler::resynced(const std::vector<DomainSnapshot>& domains) {
  Uuids present;
  for (const DomainSnapshot& domain : domains) {
    present.insert(domain.uuid);
    take_snapshot(domain);
  }
  for (const std::string& uuid : all())
    if (!present.contains(uuid)) domain_gone(uuid);
  hints_.forget_unless([this](const std::string& key) {
    const auto parts = split_key(key);
    const DomainRecord* record = parts ? domain(parts->first) : nullptr;
    return record && record->snapshot().active;
  });
  synced_ = true;
  reconcile_held();
  if (!claiming_) layers_settled();
  return_memory_soon();
}

void Reconciler::take_snapshot(const DomainSnapshot& domain) {
  DomainRecord& record = records_.try_emplace(domain.uuid, domain.uuid).first->second;
  record.set_snapshot(domain, policy_);
  record.judge(policy_, g_get_monotonic_time());
  watch_agent(record);
  watch_qemu_agent(record);
}

void Reconciler::domain_changed(const DomainSnapshot& domain) {
  const DomainRecord* const before = this->domain(domain.uuid);
  const bool stopped = before && before->snapshot().active && !domain.active;
  take_snapshot(domain);
  reconcile({domain.uuid});
  if (stopped) hints_.forget(domain.uuid + '/');
}

void Reconciler::domain_gone(const std::string& uuid) {
  const auto found = records_.find(uuid);
  if (found == records_.end() || !found->second.known()) return;
  DomainSnapshot stopped = found->second.snapshot();
  stopped.active = stopped.serving = false;
  stopped.id.reset();
  stopped.live_metadata.clear();
  stopped.config_metadata.clear();
  domain_changed(stopped);
  forget(uuid);
}

void Reconciler::forget(const std::string& uuid) {
  guests_.forget(uuid);
  for (const auto& [kind, layer] : layers_)
    layer->forget(uuid);
  if (qemu_agents_) qemu_agents_->forget(uuid);
  slowed_told_.erase(uuid);
  records_.erase(uuid);
  table_.remove_domain(uuid);
}

void Reconciler::addresses_changed(const std::string& uuid,
                                   const std::vector<IpAddress>& addresses) {
  const auto found = records_.find(uuid);
  if (found == records_.end()) return;
  found->second.set_addresses(addresses);
  reconcile({uuid});
}

void Reconciler::connection_changed(bool connected, const std::string& reason) {
  table_.set_libvirt_connected(connected, reason);
  // Questions to agents are lost with a connection.
  if (qemu_agents_ && !connected)
    for (const std::string& uuid : all())
      qemu_agents_->forget(uuid);
  if (connected)
    for (const auto& [kind, layer] : layers_)
      for (const std::string& uuid : all())
        layer->check(uuid);
  if (connected)
    log(LogLevel::info, "connected to libvirt", {{"uri", table_.connection_uri()}});
  else
    log(LogLevel::warning, "no connection to libvirt: forwards stay as they are",
        {{"uri", table_.connection_uri()}, {"reason", reason}});
}

}  // namespace vf
