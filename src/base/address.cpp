// SPDX-License-Identifier: LGPL-2.1-or-later

#include "base/address.h"

#include <arpa/inet.h>

#include <algorithm>
#include <cstring>

namespace vf {

IpAddress IpAddress::v4(std::array<std::uint8_t, 4> bytes) {
  IpAddress address;
  std::copy(bytes.begin(), bytes.end(), address.bytes_.begin());
  return address;
}

IpAddress IpAddress::v6(std::array<std::uint8_t, 16> bytes, std::uint32_t scope) {
  IpAddress address;
  address.v4_ = false;
  address.bytes_ = bytes;
  if (address.is_link_local()) address.scope_ = scope;
  return address;
}

IpAddress IpAddress::loopback6() {
  std::array<std::uint8_t, 16> bytes{};
  bytes[15] = 1;
  return v6(bytes);
}

std::optional<IpAddress> IpAddress::parse(std::string_view text) {
  const std::string terminated(text);
  if (terminated.size() != std::strlen(terminated.c_str())) return std::nullopt;
  std::array<std::uint8_t, 4> four{};
  if (inet_pton(AF_INET, terminated.c_str(), four.data()) == 1) return v4(four);
  std::array<std::uint8_t, 16> sixteen{};
  if (inet_pton(AF_INET6, terminated.c_str(), sixteen.data()) == 1) return v6(sixteen);
  return std::nullopt;
}

std::optional<IpAddress> IpAddress::from_bytes(std::span<const std::uint8_t> bytes,
                                               std::uint32_t scope) {
  if (bytes.size() == 4) return v4({bytes[0], bytes[1], bytes[2], bytes[3]});
  if (bytes.size() != 16) return std::nullopt;
  std::array<std::uint8_t, 16> sixteen{};
  std::copy(bytes.begin(), bytes.end(), sixteen.begin());
  return v6(sixteen, scope);
}

bool IpAddress::is_loopback() const {
  if (v4_) return bytes_[0] == 127;
  IpAddress plain = loopback6();
  return bytes_ == plain.bytes_;
}

bool IpAddress::is_wildcard() const {
  return std::all_of(bytes().begin(), bytes().end(), [](std::uint8_t byte) { return byte == 0; });
}

bool IpAddress::is_link_local() const {
  if (v4_) return bytes_[0] == 169 && bytes_[1] == 254;
  return bytes_[0] == 0xfe && (bytes_[1] & 0xc0) == 0x80;
}

bool IpAddress::in_subnet(const IpAddress& network, unsigned length) const {
  if (v4_ != network.v4_ || length > bytes().size() * 8) return false;
  const unsigned whole = length / 8;
  if (!std::equal(bytes_.begin(), bytes_.begin() + whole, network.bytes_.begin())) return false;
  const unsigned rest = length % 8;
  if (rest == 0) return true;
  const auto mask = static_cast<std::uint8_t>(0xff << (8 - rest));
  return (bytes_[whole] & mask) == (network.bytes_[whole] & mask);
}

std::string IpAddress::text() const {
  char buffer[INET6_ADDRSTRLEN];
  inet_ntop(v4_ ? AF_INET : AF_INET6, bytes_.data(), buffer, sizeof buffer);
  return buffer;
}

std::string Endpoint::text() const {
  const std::string port_text = std::to_string(port.number());
  return address.is_v4() ? address.text() + ':' + port_text
                         : '[' + address.text() + "]:" + port_text;
}

SocketAddress SocketAddress::from(const IpAddress& address, std::optional<Port> port) {
  SocketAddress result;
  const std::uint16_t network_port = htons(port ? port->number() : std::uint16_t{0});
  if (address.is_v4()) {
    auto* in = reinterpret_cast<sockaddr_in*>(&result.storage);
    in->sin_family = AF_INET;
    in->sin_port = network_port;
    std::memcpy(&in->sin_addr, address.bytes().data(), 4);
    result.length = sizeof *in;
  } else {
    auto* in6 = reinterpret_cast<sockaddr_in6*>(&result.storage);
    in6->sin6_family = AF_INET6;
    in6->sin6_port = network_port;
    in6->sin6_scope_id = address.scope();
    std::memcpy(&in6->sin6_addr, address.bytes().data(), 16);
    result.length = sizeof *in6;
  }
  return result;
}

std::optional<Endpoint> SocketAddress::endpoint() const {
  if (storage.ss_family == AF_INET) {
    const auto* in = reinterpret_cast<const sockaddr_in*>(&storage);
    const auto port = Port::from(ntohs(in->sin_port));
    if (!port) return std::nullopt;
    const auto* bytes = reinterpret_cast<const std::uint8_t*>(&in->sin_addr);
    return Endpoint{*IpAddress::from_bytes({bytes, 4}), *port};
  }
  if (storage.ss_family == AF_INET6) {
    const auto* in6 = reinterpret_cast<const sockaddr_in6*>(&storage);
    const auto port = Port::from(ntohs(in6->sin6_port));
    if (!port) return std::nullopt;
    const auto* bytes = reinterpret_cast<const std::uint8_t*>(&in6->sin6_addr);
    return Endpoint{*IpAddress::from_bytes({bytes, 16}, in6->sin6_scope_id), *port};
  }
  return std::nullopt;
}

}  // namespace vf
