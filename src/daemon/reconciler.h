// SPDX-License-Identifier: LGPL-2.1-or-later
//
// Makes what is so into what is wanted. Signals (libvirt, hook, relay, timers) only bring news of a
// domain; each ends in reconcile(), which compares desired with actual and applies the difference.
//
// A removal is applied by the relay before anything new is bound: until then the relay's duplicate
// of the listener keeps the port busy.

#pragma once

#include <functional>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "core/allocation.h"
#include "core/policy.h"
#include "daemon/agent_story.h"
#include "daemon/domain_record.h"
#include "daemon/forward_table.h"
#include "daemon/guest_watch.h"
#include "daemon/offloads.h"
#include "daemon/port_hints.h"
#include "daemon/qemu_agent_reader.h"
#include "daemon/relay.h"
#include "plugin/libvirt_host.h"

namespace vf {

class Reconciler : public LibvirtHost::Observer,
                   public Relay::Observer,
                   public TunnelLayer::Observer,
                   private GuestWatch::Observer {
 public:
  Reconciler(Policy policy, PortBinder& binder, PortHints& hints, ForwardTable& table);
  ~Reconciler() override;

  // Before anything else; the relay outlives this.
  void use_relay(Relay& relay) { relay_ = &relay; }
  // How commands get to the QEMU guest agents, as LibvirtHost::ask_qemu_agent().
  using AskQemuAgent = std::function<void(const std::string& uuid, std::string command,
                                          std::function<void(Result<std::string>)> done)>;
  void use_qemu_agents(AskQemuAgent ask);
  // Who lays the tunnels of one kind; without it there are none. It outlives this.
  void use_tunnels(TunnelLayer& layer) { layers_[layer.kind()] = &layer; }
  // Best first, before the first domain.
  void use_offload(std::unique_ptr<KernelOffload> offload,
                   Offloads::Start start = Offloads::Start::now) {
    offloads_.add(std::move(offload), start);
  }
  Offloads& offloads() { return offloads_; }
  // For tests: the agent of domain UUID listens on the unix socket DIRECTORY/UUID.
  void use_agent_directory(std::string directory) { agent_directory_ = std::move(directory); }
  void set_policy(Policy policy);
  const Policy& policy() const { return policy_; }

  // Binds all forwards of a domain that is about to start and keeps them until release(), until the
  // domain runs, or for a minute. The error names the first `required` forward without a port.
  Result<void> reserve(const std::string& uuid, const std::string& name,
                       const std::string& element);
  void release(const std::string& uuid);

  // Whether the relay was found holding forwards of domains that libvirt has not told of yet.
  bool has_unclaimed() const { return !unclaimed_.empty(); }

  // As DaemonStatistics has them.
  std::uint64_t guest_reports_slowed() const { return reports_slowed_; }
  std::uint64_t guest_ports_left_out() const;

  // Null when libvirt has not told of such a domain.
  DomainRecord* domain(const std::string& uuid);

  // Wants more forwards of a running domain and says what came of it: the forwards, bound, or why
  // one of them is not (of_entry()), in which case none of them is wanted any more.
  Result<std::vector<ForwardView>> want(DomainRecord& domain,
                                        const std::vector<ForwardDefinition>& definitions);
  void stop_wanting(DomainRecord& domain, const std::vector<ForwardDefinition>& definitions);
  // What want() would say now, where `live`; nothing is wanted, announced or kept. Each port is
  // bound for a moment, since the kernel alone knows which are free.
  Result<std::vector<ForwardView>> try_out(const DomainRecord& domain,
                                           const std::vector<ForwardDefinition>& definitions,
                                           bool live);
  // Whether the definition of a running domain could be had changed like this, as try_out() says it
  // of a new one: a port that it has itself is no obstacle, nor what it asks for in vain already.
  Result<void> try_change(const DomainRecord& domain, const std::string& identity,
                          const ForwardDefinition& changed);
  // Calls `done` when the relay has said for the first time what it holds, or could not be reached:
  // until then nothing is bound for domains that run.
  void when_relay_answered(std::function<void()> done);
  // Calls `applied` when the relay has nothing left to do for what has been told until now.
  void when_applied(std::function<void()> applied);

  // LibvirtHost::Observer
  void resynced(const std::vector<DomainSnapshot>& domains) override;
  void domain_changed(const DomainSnapshot& domain) override;
  void domain_gone(const std::string& uuid) override;
  void addresses_changed(const std::string& uuid, const std::vector<IpAddress>& addresses) override;
  void guest_reset(const std::string& uuid) override;
  void connection_changed(bool connected, const std::string& reason) override;

  // Relay::Observer
  void relay_kept(std::map<std::string, Fd> kept) override;
  void relay_ready(std::vector<HeldForward> held) override;
  void relay_lost(const std::string& reason) override;
  void forward_proven(const std::string& key, std::size_t hop) override;
  void forward_failing(const std::string& key, int error_number) override;
  void guest_up(const RelayGuestUp& up) override;
  void guest_down(const RelayGuestDown& down) override;
  void guest_listener(const RelayGuestListener& listener) override;
  void guest_gone(const RelayGuestGone& gone) override;
  void guest_synced(const RelayGuestSynced& synced) override;
  void agent_answer(const RelayAgentAnswer& answer) override;

  // TunnelLayer::Observer
  void tunnels_changed(Transport kind, const std::string& uuid) override;

 private:
  using Uuids = std::set<std::string>;

  // GuestWatch::Observer
  void agent_reached(const std::string& uuid, const RelayEndpoint& agent, Fd control) override;
  void agent_missed(const std::string& uuid, const std::string& reason) override;

  std::optional<RelayEndpoint> agent_of(const DomainSnapshot& domain) const;
  void watch_agent(DomainRecord& record);
  void watch_qemu_agent(DomainRecord& record);
  void guest_changed(const std::string& uuid);
  void judge_guests();
  void plan_judgement();
  AgentStory& agent_story(const DomainRecord& record);
  void agent_away(const std::string& uuid, const std::string& word, const std::string& reason);
  void agent_lost(const std::string& uuid);
  bool take_from_guess(const DesiredForward& forward);
  bool guess_has(const HostClaim& claim) const;
  Result<BoundPort> try_port(const DomainRecord& domain, const SingleForward& single);
  Error named_holder(Error error, const HostClaim& claim) const;
  // The ports of the definition that would be given up for another.
  using Own = std::map<Port, const BoundForward*>;
  Result<void> try_instead(const DomainRecord& domain, const SingleForward& single, const Own& own,
                           std::vector<BoundPort>& tried);
  void withdraw(const std::string& key);
  bool resume(BoundForward& held);
  void take_snapshot(const DomainSnapshot& domain);

  void order_tunnels(const Uuids& uuids);
  void layers_settled();
  void shrink_offloads(const Uuids& uuids, const Plan& plan);
  void grow_offloads(const Uuids& uuids);
  void refresh_offloads(const std::string& uuid);
  void short_cut_failing(const std::string& key, int error_number);

  void reconcile(const Uuids& uuids);
  void let_go_until(std::uint64_t removal);
  void apply_removals(const std::vector<std::string>& keys);
  void remember_ports(const Uuids& uuids);
  void remember_port(const DomainRecord& record, const ActualForward& forward);
  void apply_binding(DesiredForward forward);
  std::string holder_of(const HostClaim& claim) const;
  void hand_to_relay(BoundForward& bound, const DesiredForward& forward);
  void drop_unclaimed();
  bool may_be_claimed(const std::string& key);
  void adopt_held(DomainRecord& record, const std::vector<DesiredForward>& desired);
  bool adopt_one(DomainRecord& record, const DesiredForward& desired, HeldForward& held);
  bool adopt_socket(DomainRecord& record, const DesiredForward& desired, HeldForward& held);
  void reconcile_held();
  void publish(const Uuids& uuids);
  void forget(const std::string& uuid);
  void plan_retry();
  void retry_failures();
  BoundForward* bound(const std::string& key);
  Uuids all() const;
  bool relay_answered() const;
  void tell_relay_answered();

  Policy policy_;
  PortBinder& binder_;
  PortHints& hints_;
  ForwardTable& table_;
  Relay* relay_ = nullptr;
  std::vector<std::unique_ptr<TransportWay>> ways_;
  std::map<Transport, TunnelLayer*> layers_;
  Offloads offloads_{
      [this] { reconcile(all()); },
      [this](const std::string& key, int error_number) { short_cut_failing(key, error_number); }};
  std::map<std::string, DomainRecord> records_;
  // What the relay was told to remove and may still hold: until it has answered, the ports are
  // busy.
  std::vector<std::pair<std::uint64_t, ActualForward>> letting_go_;
  std::uint64_t removals_ = 0;
  // What a relay was found holding and no domain has claimed yet; what is left after the first
  // resync is removed.
  std::map<std::string, HeldForward> unclaimed_;
  GuestWatch guests_{*this};
  std::string agent_directory_;
  std::map<std::string, AgentStory> agent_stories_;
  std::uint64_t reports_slowed_ = 0;
  std::map<std::string, std::uint64_t> slowed_told_;  // by the relay, of each guest
  std::optional<QemuAgentReader> qemu_agents_;
  Uuids judged_again_;  // guests of which something has been heard in this turn
  Source judging_;
  gint64 judge_next_ = 0;  // not before this moment
  Source grace_over_;
  Source claiming_;  // as long as guests may still claim what the relay holds for them
  bool synced_ = false;
  bool relay_answered_ = false;
  std::vector<std::function<void()>> relay_waiting_;  // for its first answer
  Source retry_;
};

}  // namespace vf
