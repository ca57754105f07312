// SPDX-License-Identifier: LGPL-2.1-or-later

#pragma once

#include <netinet/in.h>
#include <sys/socket.h>

#include <array>
#include <compare>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>

#include "base/port.h"

namespace vf {

// An IPv4 or IPv6 address. A link-local IPv6 address carries the index of its interface, which is
// valid on this host and in this network namespace only.
class IpAddress {
 public:
  static IpAddress v4(std::array<std::uint8_t, 4> bytes);
  static IpAddress v6(std::array<std::uint8_t, 16> bytes, std::uint32_t scope = 0);
  static IpAddress loopback4() { return v4({127, 0, 0, 1}); }
  static IpAddress loopback6();
  // A literal address as inet_pton() takes it: no name, no port, no brackets, no scope.
  static std::optional<IpAddress> parse(std::string_view text);
  // 4 or 16 bytes in network order; nothing otherwise.
  static std::optional<IpAddress> from_bytes(std::span<const std::uint8_t> bytes,
                                             std::uint32_t scope = 0);

  bool is_v4() const { return v4_; }
  bool is_loopback() const;
  bool is_wildcard() const;
  bool is_link_local() const;
  std::uint32_t scope() const { return scope_; }
  // Network order: 4 or 16 bytes.
  std::span<const std::uint8_t> bytes() const { return std::span(bytes_).first(v4_ ? 4 : 16); }
  // True when the first `length` bits are the same; false across families.
  bool in_subnet(const IpAddress& network, unsigned length) const;
  // "192.168.122.7", "fe80::1": without the scope.
  std::string text() const;

  friend auto operator<=>(const IpAddress&, const IpAddress&) = default;

 private:
  IpAddress() = default;
  bool v4_ = true;
  std::uint32_t scope_ = 0;
  std::array<std::uint8_t, 16> bytes_{};
};

// A transport address.
struct Endpoint {
  IpAddress address;
  Port port;

  // "127.0.0.1:80", "[::1]:80".
  std::string text() const;

  friend auto operator<=>(const Endpoint&, const Endpoint&) = default;
};

// A sockaddr with its length, ready for bind() and connect().
struct SocketAddress {
  sockaddr_storage storage{};
  socklen_t length = 0;

  // Port 0 (the kernel chooses) is spelled by an absent port.
  static SocketAddress from(const IpAddress& address, std::optional<Port> port);
  // Nothing when the family is neither AF_INET nor AF_INET6 or the port is 0.
  std::optional<Endpoint> endpoint() const;

  sockaddr* get() { return reinterpret_cast<sockaddr*>(&storage); }
  const sockaddr* get() const { return reinterpret_cast<const sockaddr*>(&storage); }
};

}  // namespace vf
