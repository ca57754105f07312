// SPDX-License-Identifier: LGPL-2.1-or-later
//
// rtnetlink messages as values. A message that is short or odd says nothing.

#pragma once

#include <array>
#include <optional>
#include <string>

#include "plugin/netlink.h"

struct nlmsghdr;

namespace vf {

// An entry of a bridge's forwarding table.
struct Forwarding {
  std::uint32_t bridge = 0;
  std::uint32_t port = 0;
  std::string mac;
  bool local = false;  // the port's own MAC
};

using MacBytes = std::array<std::uint8_t, 6>;

// "52:54:00:12:34:56", nothing for anything else.
std::optional<MacBytes> parse_mac(const std::string& text);
std::string mac_text(const MacBytes& mac);

// Tells `observer` what the message says, if it is about one of its matters.
void report(const nlmsghdr* message, Netlink::Observer& observer);
std::optional<Forwarding> parse_forwarding(const nlmsghdr* message);
// Of an answer to RTM_GETROUTE: see HostNetwork::direct_route().
std::optional<std::uint32_t> parse_direct_route(const nlmsghdr* message);
bool parse_vlan_filter(const nlmsghdr* message);

}  // namespace vf
