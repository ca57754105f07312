// SPDX-License-Identifier: LGPL-2.1-or-later
//
// plan = diff(desired, actual). Pure: no clock, no socket, no callback. Planning what is already so
// gives an empty plan.

#pragma once

#include <optional>
#include <string>
#include <vector>

#include "base/relay_endpoint.h"
#include "core/desired.h"

namespace vf {

// Where the relay takes a forward's connections, how many at once and how.
struct RelayRoute {
  std::vector<RelayEndpoint> endpoints;  // in order of preference; empty: no way now
  std::uint32_t max_connections = 0;
  std::uint32_t max_domain_connections = 0;  // of the domain's forwards together
  bool proxy_protocol = false;
  std::uint32_t idle_timeout = 0;  // seconds; 0: none
  friend bool operator==(const RelayRoute&, const RelayRoute&) = default;
};

struct DesiredForward {
  std::string key;
  HostClaim claim;
  std::optional<Port> sticky;
  RelayRoute route;
  bool serve = true;      // false: hold the port, the relay does not have it yet
  bool withdraw = false;  // hold the port, and let nobody in
};

struct ActualForward {
  std::string key;
  HostClaim claim;           // what it was bound for
  std::optional<Port> port;  // absent: a socket
  RelayRoute route;
  bool served = false;  // the relay has it
};

// To be done in this order: what is removed frees its port for what is bound.
struct Plan {
  std::vector<std::string> remove;
  std::vector<DesiredForward> bind;    // exact claims first, then those that can move
  std::vector<DesiredForward> serve;   // bound before, now to be handed to the relay
  std::vector<DesiredForward> update;  // served, with another route
  std::vector<std::string> withdraw;   // served before; connections go on

  bool empty() const {
    return remove.empty() && bind.empty() && serve.empty() && update.empty() && withdraw.empty();
  }
};

Plan plan(const std::vector<DesiredForward>& desired, const std::vector<ActualForward>& actual);

}  // namespace vf
