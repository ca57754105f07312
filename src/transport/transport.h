// SPDX-License-Identifier: LGPL-2.1-or-later
//
// Ways the relay can reach a guest. A transport answers, from what is known of a guest, where the
// relay shall connect for one forward. It opens nothing and probes nothing: the first client is the
// probe.

#pragma once

#include <memory>
#include <span>
#include <string>
#include <vector>

#include "base/result.h"
#include "core/auto_rules.h"
#include "core/definition.h"
#include "core/plan.h"

namespace vf {

// Of virt-forward-guest, which connects streams of vsock to sockets inside the guest.
enum class AgentState { no_device, absent, present };

// What is known of a running guest.
struct GuestReach {
  std::vector<IpAddress> addresses;  // proven, best first
  bool bridged = false;              // has an interface on a bridge of this host
  AgentState agent = AgentState::no_device;
  std::string agent_reason;  // why it is absent, in words
  // What listens, as the guest says; null: it has not said.
  const std::vector<DetectedPort>* ports = nullptr;

  // Those that a connection to `port` of an address that nobody names may mean.
  std::vector<const DetectedPort*> listeners(Protocol protocol, Port port) const;
};

// One way to connect.
struct Hop {
  Transport transport = Transport::tcp;
  RelayEndpoint endpoint;
  friend bool operator==(const Hop&, const Hop&) = default;
};

// In order of preference; the relay tries the next where one fails. Never empty.
using Route = std::vector<Hop>;

class TransportWay {
 public:
  virtual ~TransportWay() = default;
  virtual Transport kind() const = 0;
  // An error says, in words for people, what is missing.
  virtual Result<Route> route(const GuestReach& guest, const ForwardDefinition& forward) const = 0;
};

// The guest's TCP stack at a proven address: for what does not listen on its loopback alone.
class TcpTransport : public TransportWay {
 public:
  Transport kind() const override { return Transport::tcp; }
  Result<Route> route(const GuestReach& guest, const ForwardDefinition& forward) const override;
};

// The agent in the guest: reaches its loopback and its sockets too, and needs no network.
class VsockTransport : public TransportWay {
 public:
  Transport kind() const override { return Transport::vsock; }
  Result<Route> route(const GuestReach& guest, const ForwardDefinition& forward) const override;
};

// All that the forward's `transport` attribute admits, one behind the other in the order of `ways`;
// where there is none the error says what each of them lacks.
Result<Route> choose_route(std::span<const std::unique_ptr<TransportWay>> ways,
                           const GuestReach& guest, const ForwardDefinition& forward);

}  // namespace vf
