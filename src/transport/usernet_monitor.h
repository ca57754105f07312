// SPDX-License-Identifier: LGPL-2.1-or-later
//
// What QEMU's human monitor is told of its user networks, and how to read what it prints. Errors
// come as text like any other: each reply here is matched against the words of success, and what is
// none of them is an error. Seen with QEMU 7.2 and libslirp 4.7; the words have been the same since
// QEMU 2.12 at least.

#pragma once

#include <compare>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/address.h"
#include "base/result.h"
#include "core/vocabulary.h"

namespace vf {

// A port of the host that QEMU's user network passes on to the guest.
struct UsernetRule {
  std::string netdev;  // "hostnet0"
  Protocol protocol = Protocol::tcp;
  Endpoint host;
  Endpoint guest;
  friend auto operator<=>(const UsernetRule&, const UsernetRule&) = default;
};

// libvirt's name of the netdev behind an interface: "hostnet0" behind "net0". Nothing for an alias
// that libvirt would not take and a command could not carry.
std::optional<std::string> usernet_netdev(std::string_view alias);

inline constexpr const char* usernet_survey = "info usernet";

// Without a guest address it is the one that QEMU's DHCP server gives first (10.0.2.15).
std::string hostfwd_add(const std::string& netdev, Protocol protocol, const Endpoint& host,
                        const std::optional<IpAddress>& guest_address, Port guest_port);
std::string hostfwd_remove(const UsernetRule& rule);

// Errors: port_busy, no_such_forward (QEMU has no such user network), failed with QEMU's words.
Result<void> hostfwd_added(std::string_view reply);
// Also true of what was not there.
Result<void> hostfwd_removed(std::string_view reply);

// All forwards that listen on one IPv4 address; connections are passed over.
Result<std::vector<UsernetRule>> usernet_rules(std::string_view reply);

}  // namespace vf
