// SPDX-License-Identifier: LGPL-2.1-or-later
//
// What a domain's metadata says, as values: the element <forwards xmlns="urn:virt-forward:1">.
// xml/forwards.rng is the same vocabulary as a schema.

#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "base/address.h"
#include "base/port.h"
#include "core/vocabulary.h"

namespace vf {

inline constexpr std::string_view metadata_namespace = "urn:virt-forward:1";

// Bounds of a document; past them it is refused, not cut.
struct DefinitionLimits {
  static constexpr std::size_t document_bytes = 1 << 20;
  static constexpr std::size_t depth = 16;
  static constexpr std::size_t attributes = 256;  // of one element
  static constexpr std::size_t forwards = 4096;
  static constexpr std::size_t rules = 1024;
  static constexpr std::size_t value_bytes = 1024;
  static constexpr std::size_t errors = 1000;  // reported; what follows is not looked at
};

// A stream or datagram socket by path.
struct SocketPath {
  std::string path;
  friend bool operator==(const SocketPath&, const SocketPath&) = default;
};

using GuestSide = std::variant<PortRange, SocketPath>;
// monostate: any free port.
using HostSide = std::variant<std::monostate, PortRange, SocketPath>;

// <forward>. A host range is as wide as the guest range.
struct ForwardDefinition {
  GuestSide guest = SocketPath{};  // an empty path stands for "not set"
  HostSide host;
  std::optional<IpAddress> host_address;   // absent: 127.0.0.1 and ::1
  std::optional<IpAddress> guest_address;  // absent: wherever the guest listens
  Protocol protocol = Protocol::tcp;
  Transport transport = Transport::automatic;
  Offload offload = Offload::automatic;
  OnBusy on_busy = OnBusy::next;
  bool enabled = true;
  bool required = false;
  std::string name;
  std::string label;
  std::string scheme;
  ProxyProtocol proxy_protocol = ProxyProtocol::none;
  std::optional<std::uint32_t> idle_timeout;     // seconds, at least 1
  std::optional<std::uint32_t> max_connections;  // at least 1; absent: the host policy's

  // The name, else "PROTOCOL:HOST:GUEST" ("tcp:8080:80", "tcp:any:3000", "udp:10.0.0.1=53:53").
  // Two forwards of one domain with the same identity are an error.
  std::string identity() const;

  friend bool operator==(const ForwardDefinition&, const ForwardDefinition&) = default;
};

// <rule> of <auto>. Absent matchers match anything, but an absent protocol is tcp. Without a host
// port a match gets the guest's, or where that is below 1024, the one 8000 above. A host range is
// as wide as the guest range.
struct AutoRule {
  RuleAction action = RuleAction::forward;
  std::optional<PortRange> guest_port;
  std::optional<IpAddress> guest_address;
  Protocol protocol = Protocol::tcp;
  std::string process;  // glob; empty: any
  std::string command;  // glob; empty: any
  HostSide host;
  std::optional<IpAddress> host_address;
  OnBusy on_busy = OnBusy::next;
  Transport transport = Transport::automatic;
  Offload offload = Offload::automatic;
  std::string label;
  std::string scheme;
  bool notify = true;
  bool open = false;
  bool marked = false;  // made by with_block_added() or with_allow_added()

  friend bool operator==(const AutoRule&, const AutoRule&) = default;
};

// <auto>.
struct AutoDefinition {
  AutoMode enabled = AutoMode::yes;
  std::vector<AutoRule> rules;
  friend bool operator==(const AutoDefinition&, const AutoDefinition&) = default;
};

// <ssh>. `identity` is the name of a key that the host policy lists, never a path.
struct SshDefinition {
  std::string user;
  std::optional<Port> port;
  std::string identity;
  friend bool operator==(const SshDefinition&, const SshDefinition&) = default;
};

// <forwards>.
struct Definitions {
  std::vector<ForwardDefinition> forwards;
  std::optional<AutoDefinition> automatic;
  std::optional<SshDefinition> ssh;
  friend bool operator==(const Definitions&, const Definitions&) = default;
};

// "http" for the ports that web servers use by habit (80, 3000, 5000, 5173, 8000, 8080, ...),
// "https" for 443 and 8443; else empty.
std::string_view usual_scheme(Port guest_port);

}  // namespace vf
