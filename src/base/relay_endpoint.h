// SPDX-License-Identifier: LGPL-2.1-or-later

#pragma once

#include <compare>
#include <cstdint>
#include <optional>
#include <string>
#include <variant>

#include "base/address.h"

namespace vf {

// A unix stream socket: the path of its file, or with '@' in front a name in the abstract
// namespace. Neither is longer than the kernel takes.
struct UnixEndpoint {
  std::string path;
  bool abstract() const { return path.starts_with('@'); }
  friend auto operator<=>(const UnixEndpoint&, const UnixEndpoint&) = default;
};

struct VsockEndpoint {
  std::uint32_t cid = 0;
  std::uint32_t port = 0;
  friend auto operator<=>(const VsockEndpoint&, const VsockEndpoint&) = default;
};

// A socket inside a guest, reached by the agent there. Which guest, and how its agent is reached,
// does not belong to the endpoint: see GuestRequest.
struct AgentEndpoint {
  std::optional<IpAddress> address;  // absent: 127.0.0.1, then ::1
  std::optional<Port> port;          // absent: `path` it is
  std::string path;                  // of a unix stream socket, absolute; at most max_path_bytes
  static constexpr std::size_t max_path_bytes = 107;
  friend auto operator<=>(const AgentEndpoint&, const AgentEndpoint&) = default;
};

// Where the relay may be asked to connect.
using RelayEndpoint = std::variant<Endpoint, UnixEndpoint, VsockEndpoint, AgentEndpoint>;

// "127.0.0.1:80", "unix:/run/web.sock", "vsock:3:1010", "localhost:80 in the guest".
std::string text(const RelayEndpoint& endpoint);

// Ready for connect() and bind(). Nothing for a path that the kernel would not take, and for what
// only an agent can reach.
std::optional<SocketAddress> socket_address(const RelayEndpoint& endpoint);

}  // namespace vf
