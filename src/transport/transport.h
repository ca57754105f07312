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
#include "core/definition.h"
#include "core/plan.h"

namespace vf {

// What is known of a running guest.
struct GuestReach {
  std::vector<IpAddress> addresses;  // proven, best first
  bool bridged = false;              // has an interface on a bridge of this host
};

struct Route {
  Transport transport = Transport::tcp;
  std::vector<RelayEndpoint> endpoints;
  friend bool operator==(const Route&, const Route&) = default;
};

class TransportWay {
 public:
  virtual ~TransportWay() = default;
  virtual Transport kind() const = 0;
  // Never an empty list of endpoints. An error says, in words for people, what is missing.
  virtual Result<Route> route(const GuestReach& guest, const ForwardDefinition& forward) const = 0;
};

// The guest's TCP stack at a proven address.
class TcpTransport : public TransportWay {
 public:
  Transport kind() const override { return Transport::tcp; }
  Result<Route> route(const GuestReach& guest, const ForwardDefinition& forward) const override;
};

// The first of `ways` that the forward's `transport` attribute admits and that has a route; the
// error of the last one tried otherwise.
Result<Route> choose_route(std::span<const std::unique_ptr<TransportWay>> ways,
                           const GuestReach& guest, const ForwardDefinition& forward);

}  // namespace vf
