// SPDX-License-Identifier: LGPL-2.1-or-later
//
// All that the daemon knows of one domain, and what follows from it: which forwards are wanted, and
// how each looks to people. Does no I/O but closing sockets.

#pragma once

#include <chrono>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/fd.h"
#include "base/socket_file.h"
#include "core/definition_xml.h"
#include "core/forward_view.h"
#include "core/plan.h"
#include "daemon/guest_ports.h"
#include "daemon/offloads.h"
#include "glib/source.h"
#include "plugin/domain_snapshot.h"
#include "transport/transport.h"

namespace vf {

// A forward whose port is bound, now.
struct BoundForward {
  ActualForward actual;
  std::vector<IpAddress> addresses;
  std::vector<Fd> listeners;
  std::optional<SocketFile> file = {};
  bool paused = false;  // its listeners do not listen: who connects is refused, the port is kept
  bool proven = false;
  std::optional<RelayEndpoint> proven_by = {};  // where the last connection got through
  std::size_t hop = 0;  // of its route, by which the last connection got through
  int failing = 0;      // errno of the last connection that did not get through to the guest, or 0
};

// Why a wanted forward has no port, and when it is tried again.
struct BindFailure {
  HostClaim claim;  // that could not be had; another one is tried at once
  Error error;
  std::chrono::seconds delay{0};
  std::int64_t next_try = 0;  // Unix time, seconds
};

// Why an agent is absent, in a word: it has been asked for the first time and has not answered.
inline constexpr std::string_view agent_connecting = "connecting";

class DomainRecord {
 public:
  using Ways = std::span<const std::unique_ptr<TransportWay>>;

  explicit DomainRecord(std::string uuid) { snapshot_.uuid = std::move(uuid); }

  const DomainSnapshot& snapshot() const { return snapshot_; }
  // Whether libvirt has told of it; a domain about to start for the first time is only reserved.
  bool known() const { return known_; }
  void set_snapshot(const DomainSnapshot& snapshot, const Policy& policy);
  void set_policy(const Policy& policy);
  void set_addresses(std::vector<IpAddress> addresses);
  // Addresses that an earlier daemon trusted in this run of the domain: they count until
  // set_addresses() or drop_assumed_addresses(). Nothing happens when there are addresses.
  void assume_addresses(const std::vector<RelayEndpoint>& endpoints);
  void drop_assumed_addresses();
  // Whether the guest's agent can be reached; why not in a word (DomainView::guest_agent) and in
  // words.
  void set_agent(AgentState state, std::string word = {}, std::string reason = {});
  AgentState agent() const { return agent_; }

  // Where its tunnels of one kind begin.
  void set_tunnels(Transport kind, TunnelEnds ends,
                   std::map<TunnelTarget, std::string> refusals = {}) {
    tunnels_[kind] = std::move(ends);
    refusals_[kind] = std::move(refusals);
  }
  // What is to be laid for it. Nothing is wanted of a layer for a domain that names no account, or
  // has no user network.
  TunnelOrder tunnel_order(const TunnelTransport& way, Ways ways, const Policy& policy) const;
  // Early in a run a way that is better than a last resort may only be late.
  bool awaits_better() const;
  void await_no_longer() { better_awaited_ = false; }
  // How its forwards may be taken past the relay; none of those in `leaving` (ids).
  Offloads::Wanted wanted_offloads(const Offloads& offloads, Ways ways, const Policy& policy,
                                   const std::set<std::string>& leaving) const;

  // Where there is no agent of ours QEMU's is asked, whose answers have no process names.
  bool wants_qemu_agent(const Policy& policy) const;
  void set_qemu_agent(bool answers, std::string problem);

  // What the guest says that it listens on. judge() lets it take effect; `now` is monotonic.
  GuestPorts& guest_ports() { return guest_ports_; }
  const GuestPorts& guest_ports() const { return guest_ports_; }
  void judge(const Policy& policy, std::int64_t now);
  // Whether anything here asks for the guest's UDP ports.
  bool wants_udp() const;

  // Forwards of a start that is being prepared; they hold ports while the domain is not active.
  void reserve(std::string name, std::vector<ForwardDefinition> definitions, const Policy& policy);
  void release_reservation();

  // Forwards that are being added: wanted from now on, though not yet in the metadata.
  void add_pending(const std::vector<ForwardDefinition>& definitions, const Policy& policy);
  void drop_pending(const std::vector<ForwardDefinition>& definitions, const Policy& policy);

  const Definitions& live() const { return live_.definitions; }
  const Definitions& config() const { return config_.definitions; }
  // The identity of the definition that `forward` (an id or an identity) belongs to.
  std::optional<std::string> definition_of(const std::string& forward) const;

  // What is wanted now: forwards that are to be bound. `key` of the result is "UUID/ID".
  std::vector<DesiredForward> desired(Ways ways, const Policy& policy) const;
  std::string key(const std::string& id) const { return snapshot_.uuid + '/' + id; }

  // Why the transport that the forward asks for by name can never be, in words; empty where it can.
  std::string impossible(const SingleForward& forward, Ways ways, const Policy& policy) const;

  DomainView view(const Policy& policy) const;
  // The one rule that asks about these ports, of a process of that name where one is given.
  std::optional<AutoRule> asking_rule(Protocol protocol, PortRange ports,
                                      const std::string& process) const;
  // By which allow() lets these ports through, as far as the guest has them open.
  std::vector<AutoRule> allowing_rules(Protocol protocol, PortRange ports) const;
  std::vector<PortView> port_views() const;
  std::vector<ForwardView> forward_views(Ways ways, const Policy& policy,
                                         const Offloads& offloads) const;

  std::map<std::string, BoundForward> bound;    // by id
  std::map<std::string, BindFailure> failures;  // by id
  std::set<std::string> draining;  // ids whose removal lets connections end by themselves
  Source reservation_timeout;
  Source assumption_timeout;
  // Of an agent that was there: its forwards stay until the time is over.
  struct AgentLoss {
    std::string word;  // the latest; see set_agent()
    std::string reason;
    Source timeout;
  };
  std::optional<AgentLoss> agent_loss;
  Source better_timeout;  // ends awaits_better()

 private:
  void expand_wanted(const Policy& policy);
  GuestReach reach(const Policy& policy) const;
  ForwardView base_view(const SingleForward& forward) const;
  const GuestPorts::Entry* detected(const SingleForward& forward) const;
  bool withdrawn(const SingleForward& forward) const;
  std::optional<std::string> served_by_definition(const DetectedPort& port) const;
  bool says_nothing_listens(const SingleForward& forward, const GuestReach& reached) const;
  void describe_agent(DomainView& view, const Policy& policy) const;
  void describe_guest(ForwardView& view, const SingleForward& forward,
                      const GuestReach& reached) const;
  struct Judges {
    Ways ways;
    const Policy& policy;
    const Offloads& offloads;
    const GuestReach& reach;
  };
  OffloadRequest offload_request(const SingleForward& forward, const Route& route) const;
  std::string resume_command() const;
  void describe_state(ForwardView& view, const SingleForward& forward, const Judges& by) const;
  std::string refusal(const SingleForward& forward, Transport used, const Judges& by) const;
  void describe_ways(ForwardView& view, const SingleForward& forward, const RouteChoice& choice,
                     const Judges& by) const;

  DomainSnapshot snapshot_;
  bool known_ = false;
  std::vector<IpAddress> addresses_;
  bool better_awaited_ = false;
  bool addresses_told_ = false;  // by set_addresses(), in this run
  AgentState agent_ = AgentState::no_device;
  std::string agent_word_;
  std::string agent_reason_;
  bool qemu_agent_answers_ = false;
  std::string qemu_agent_problem_;
  std::map<Transport, TunnelEnds> tunnels_;
  std::map<Transport, std::map<TunnelTarget, std::string>> refusals_;
  GuestPorts guest_ports_;
  ParsedDefinitions live_;
  ParsedDefinitions config_;
  std::vector<ForwardDefinition> pending_;
  std::vector<ForwardDefinition> reserved_;
  // Of live and pending, then automatic ones; or of what is reserved.
  std::vector<SingleForward> wanted_;
  std::vector<SingleForward> config_only_;  // in the next start's metadata alone
};

// The account that <ssh> names, with the file of its key; the error says what is missing.
Result<SshAccount> ssh_account(const std::optional<SshDefinition>& given, const Policy& policy);

// "UUID/ID" taken apart; nothing when there is no slash.
std::optional<std::pair<std::string, std::string>> split_key(const std::string& key);

}  // namespace vf
