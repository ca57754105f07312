// SPDX-License-Identifier: LGPL-2.1-or-later
//
// From definitions to single forwards: each port of a range on its own, judged against the host
// policy and against what this version can serve. Pure.

#pragma once

#include <optional>
#include <string>
#include <vector>

#include "base/result.h"
#include "core/definition.h"
#include "core/policy.h"

namespace vf {

// What is wanted of the host side of one forward.
struct HostClaim {
  Protocol protocol = Protocol::tcp;  // a TCP and a UDP port of one number are two ports
  std::vector<IpAddress> addresses;   // all of them get the same port
  bool default_addresses = true;      // 127.0.0.1 and ::1; ::1 may be missing on the host
  std::optional<Port> port;           // absent: any
  OnBusy on_busy = OnBusy::next;
  std::string socket;  // a path, instead of addresses and a port; empty: none
  bool guess = false;  // nobody asked for this port: who does gets it

  friend bool operator==(const HostClaim&, const HostClaim&) = default;
};

// One port or socket of one definition.
struct SingleForward {
  std::string id;          // forward_id()
  std::string definition;  // identity
  ForwardDefinition spec;  // with a range of width 1 on both sides
  HostClaim claim;
  // Why it is not served at all, if so: `disabled`, `denied` or `failed`.
  std::optional<ForwardState> refused;
  std::string reason;
  Origin origin = Origin::metadata;

  std::optional<Port> guest_port() const;

  friend bool operator==(const SingleForward&, const SingleForward&) = default;
};

// `spec` has a range of width 1 on both sides.
SingleForward single_forward(std::string id, std::string definition, ForwardDefinition spec,
                             const Policy& policy);

std::vector<SingleForward> expand(const std::vector<ForwardDefinition>& definitions,
                                  const Policy& policy);

}  // namespace vf
