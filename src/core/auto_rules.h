// SPDX-License-Identifier: LGPL-2.1-or-later
//
// What the rules of <auto> make of a port that a guest has open. Pure. virt-forward-metadata(7) has
// the same as tables.

#pragma once

#include <cstddef>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/guest_listener.h"
#include "core/definition.h"
#include "core/desired.h"
#include "core/policy.h"

namespace vf {

// In front of a port's id it makes the id of its automatic forward.
inline constexpr std::string_view automatic_prefix = "auto:";

// A port that a guest has open: one listener, or two that are one to whoever connects (0.0.0.0 and
// ::, 127.0.0.1 and ::1). It is there as long as one of them is.
struct DetectedPort {
  Protocol protocol = Protocol::tcp;
  Port port = *Port::from(1);
  std::vector<IpAddress> addresses;  // one, or the IPv4 one and the IPv6 one of a pair
  GuestListener process;             // who: of the first address; its key has no meaning

  bool wildcard() const { return addresses.front().is_wildcard(); }
  // Reached from inside the guest only.
  bool loopback() const { return addresses.front().is_loopback(); }
  // Unique within a guest: "tcp:8080" for a wildcard, "tcp:localhost=8080" for 127.0.0.1 and ::1,
  // "tcp:10.0.0.5=8080" and "tcp:127.0.0.53=8080" for others.
  std::string id() const;

  friend bool operator==(const DetectedPort&, const DetectedPort&) = default;
};

// In order of protocol, port and address.
std::vector<DetectedPort> detected_ports(std::span<const GuestListener> listeners);

// What becomes of it.
struct AutoDecision {
  DetectedState state = DetectedState::ignored;
  std::optional<std::size_t> rule;  // number of the rule that decided, from 1; absent: none did
  std::string reason;               // in words; empty only where it is forwarded
  // Where it is forwarded: its id is "auto:" and the port's id, its origin automatic. May be
  // `refused` by the policy all the same.
  std::optional<SingleForward> forward;
  std::optional<AutoRule> by;  // that rule

  bool operator==(const AutoDecision&) const = default;
};

// Whether ports are forwarded by themselves at all.
bool automatic(const std::optional<AutoDefinition>& definition, const Policy& policy);

// `definition` may be absent (no rules). While automatic() is false everything is `ignored`, but
// what a rule blocks is `blocked`.
AutoDecision decide(const std::optional<AutoDefinition>& definition, const Policy& policy,
                    const DetectedPort& port);

// What lets ports through that `asking`, a rule of action ask about all of them, holds back; null
// where none does.
// With a process (a name, no pattern): that process wherever the rule asks about it; else `ports`,
// whoever it is. What a match gets is as that rule says.
AutoRule allowing_rule(const AutoRule* asking, Protocol protocol, PortRange ports,
                       std::string_view process);

// Where `part`, which lies within `whole`, is in `host`, a range as wide as that.
PortRange same_part(PortRange host, PortRange whole, PortRange part);

}  // namespace vf
