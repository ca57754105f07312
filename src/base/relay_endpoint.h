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

// Where the relay may be asked to connect.
using RelayEndpoint = std::variant<Endpoint, UnixEndpoint, VsockEndpoint>;

// "127.0.0.1:80", "unix:/run/web.sock", "vsock:3:1010".
std::string text(const RelayEndpoint& endpoint);

// Ready for connect() and bind(). Nothing for a path that the kernel would not take.
std::optional<SocketAddress> socket_address(const RelayEndpoint& endpoint);

}  // namespace vf
