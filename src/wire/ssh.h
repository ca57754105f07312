// SPDX-License-Identifier: LGPL-2.1-or-later
//
// Daemon to virt-forward-ssh and back, over a SOCK_SEQPACKET socket; packets as between daemon and
// relay (wire/relay.h), without descriptors.
//
// Each end says hello first. The hello's layout never changes; everything else belongs to a
// version. What the daemon orders stands when it goes away: a new one says hello, orders what it
// wants, and ends the list with sync, which takes away what it did not name.
//
//   daemon                            virt-forward-ssh
//   hello                             hello
//   guest                         ->  state, a tunnel for each target
//   close                         ->  (nothing more of that guest)
//   sync                          ->  (guests that this daemon did not name are closed)
//   shut-down                     ->  (ends, and all of its masters)
//                                     state, tunnel, refused (at any time)
//
// Everything that ssh or the guest's server wrote comes bounded and printable.

#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "base/fd.h"
#include "base/relay_endpoint.h"
#include "base/result.h"

namespace vf {

inline constexpr std::uint32_t ssh_protocol_version = 1;
// A guest's order with all its targets is one message, in one packet.
inline constexpr std::size_t ssh_packet_max_bytes = 128 * 1024;
inline constexpr std::size_t ssh_max_targets = 1024;
inline constexpr std::size_t ssh_max_destinations = 16;
inline constexpr std::size_t ssh_reason_max_bytes = 1024;

struct SshHello {
  std::uint32_t version = ssh_protocol_version;
  std::uint32_t capabilities = 0;
  std::uint32_t pid = 0;
  friend bool operator==(const SshHello&, const SshHello&) = default;
};

// All that is wanted for one guest; replaces what was ordered for it before.
struct SshGuest {
  std::string uuid;                         // its host key is pinned under this name
  std::vector<RelayEndpoint> destinations;  // Endpoint or VsockEndpoint, in order of preference
  std::string user;                         // see is_ssh_user()
  std::string key_path;                     // absolute; empty: the user's own keys
  std::vector<AgentEndpoint> targets;       // in the guest
  friend bool operator==(const SshGuest&, const SshGuest&) = default;
};

struct SshClose {
  std::string uuid;
};

struct SshSync {};

struct SshShutDown {};

enum class SshPhase : std::uint8_t { connecting, up, failed };

// `failed` until the next attempt; `connecting` has the reason of the last one, if there was one.
struct SshState {
  std::string uuid;
  SshPhase phase = SshPhase::connecting;
  std::string reason;
  friend bool operator==(const SshState&, const SshState&) = default;
};

// Where connections to the target begin, or why nowhere (now): one of the two is empty.
struct SshTunnel {
  std::string uuid;
  AgentEndpoint target;
  std::string path;
  std::string reason;
  friend bool operator==(const SshTunnel&, const SshTunnel&) = default;
};

// A connection through the tunnel did not reach the target, as the guest's server says; without a
// reason: a later one did.
struct SshRefused {
  std::string uuid;
  AgentEndpoint target;
  std::string reason;
  friend bool operator==(const SshRefused&, const SshRefused&) = default;
};

using SshMessage = std::variant<SshHello, SshGuest, SshClose, SshSync, SshShutDown, SshState,
                                SshTunnel, SshRefused>;

// As <ssh user="…"> has it: letters, digits, '.', '_' and '-', at most 32, a letter or '_' first.
bool is_ssh_user(std::string_view text);

// The packet of one message; empty where it is not within the limits.
std::vector<std::uint8_t> encode_ssh_message(SshMessage message);

// Every message of a packet. An Error for anything that the encoder could not have made; `fds`,
// which no message has, are closed.
Result<std::vector<SshMessage>> decode_ssh_packet(std::span<const std::uint8_t> bytes,
                                                  std::vector<Fd> fds);

}  // namespace vf
