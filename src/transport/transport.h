// SPDX-License-Identifier: LGPL-2.1-or-later
//
// Ways the relay can reach a guest. A transport answers, from what is known of a guest, where the
// relay shall connect for one forward. It opens nothing and probes nothing: the first client is the
// probe. Those that need a tunnel say which; transport/tunnel.h has who lays it.

#pragma once

#include <memory>
#include <span>
#include <string>
#include <vector>

#include "base/result.h"
#include "core/auto_rules.h"
#include "core/definition.h"
#include "core/plan.h"
#include "transport/tunnel.h"

namespace vf {

// Of virt-forward-guest, which connects streams of vsock to sockets inside the guest.
enum class AgentState { no_device, absent, present };

// What is known of the tunnels of one kind into a guest.
struct TunnelReach {
  bool given = false;                // there is something to lay them by: <ssh>, a user network
  std::optional<Error> missing;      // why none can be laid all the same
  const TunnelEnds* ends = nullptr;  // of those that were ordered; null: none
};

// What is known of a running guest.
struct GuestReach {
  std::vector<IpAddress> addresses;  // proven, best first
  bool bridged = false;              // has an interface on a bridge of this host
  bool macvtap = false;              // has one that is connected past the host
  TunnelReach ssh;
  TunnelReach usernet;
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

// In order of preference; the relay tries the next where one fails.
using Route = std::vector<Hop>;

class TransportWay {
 public:
  virtual ~TransportWay() = default;
  virtual Transport kind() const = 0;
  // An error says, in words for people, what is missing: NotSupported where the domain has nothing
  // of the kind, InvalidArgument where what it has can never serve, Failed where that does not
  // (yet).
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

// One that begins where a tunnel does.
class TunnelTransport : public TransportWay {
 public:
  Result<Route> route(const GuestReach& guest, const ForwardDefinition& forward) const override;
  // The tunnel that this forward would take; the error says why none could serve it.
  virtual Result<TunnelTarget> target(const GuestReach& guest,
                                      const ForwardDefinition& forward) const = 0;
  // Only laid where nothing better is there.
  virtual bool last_resort() const = 0;

 protected:
  virtual const TunnelReach& reach(const GuestReach& guest) const = 0;
};

// By an ssh client on the host into the guest's sshd: reaches its loopback and its sockets too.
class SshTransport : public TunnelTransport {
 public:
  Transport kind() const override { return Transport::ssh; }
  Result<TunnelTarget> target(const GuestReach& guest,
                              const ForwardDefinition& forward) const override;
  bool last_resort() const override { return false; }

 protected:
  const TunnelReach& reach(const GuestReach& guest) const override { return guest.ssh; }
};

// By QEMU's user network, which lets connections in before the guest does. Asking QEMU for it marks
// the domain as tainted.
class UsernetTransport : public TunnelTransport {
 public:
  Transport kind() const override { return Transport::usernet; }
  Result<TunnelTarget> target(const GuestReach& guest,
                              const ForwardDefinition& forward) const override;
  bool last_resort() const override { return true; }

 protected:
  const TunnelReach& reach(const GuestReach& guest) const override { return guest.usernet; }
};

// What was made of every way, so that people can be told why.
struct RouteChoice {
  struct Rejection {
    Transport way;
    Error reason;
  };
  Route route;                      // empty: there is no way now
  std::vector<Rejection> rejected;  // in order of preference
  // Why there is no way, in words.
  std::string missing() const;
};

// All that the forward's `transport` attribute and the policy admit, one behind the other in the
// order of `ways`.
RouteChoice choose_route(std::span<const std::unique_ptr<TransportWay>> ways, const Policy& policy,
                         const GuestReach& guest, const ForwardDefinition& forward);

}  // namespace vf
