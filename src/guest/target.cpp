// SPDX-License-Identifier: LGPL-2.1-or-later

#include "guest/target.h"

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstdlib>
#include <memory>
#include <string>
#include <utility>

#include "guest/own_address.h"

namespace vf::guest {
namespace {

// The kernel takes IPv4 in IPv6 for IPv4, and so do we before anything is decided.
IpAddress unmapped(const IpAddress& address) {
  static constexpr std::array<std::uint8_t, 12> mapped = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff};
  const auto bytes = address.bytes();
  if (address.is_v4() || !std::ranges::equal(bytes.first(12), mapped)) return address;
  return *IpAddress::from_bytes(bytes.subspan(12));
}

// Without symbolic links, which could lead around the administrator's rules.
std::optional<std::string> real_path(const std::string& path) {
  const std::unique_ptr<char, void (*)(void*)> real(realpath(path.c_str(), nullptr), std::free);
  if (!real) return std::nullopt;
  return std::string(real.get());
}

Resolved resolve_path(const std::string& path, const Config& config) {
  if (!config.permits(path)) return {{}, GuestStatus::denied, 0};
  const auto real = real_path(path);
  if (!real) return {{}, GuestStatus::unreachable, errno};
  if (!config.permits(*real)) return {{}, GuestStatus::denied, 0};
  if (real->size() > AgentEndpoint::max_path_bytes)
    return {{}, GuestStatus::unreachable, ENAMETOOLONG};
  return {{UnixEndpoint{*real}}, GuestStatus::ok, 0};
}

}  // namespace

bool permitted(const RelayEndpoint& endpoint, bool udp, const Config& config) {
  if (const auto* const inet = std::get_if<Endpoint>(&endpoint))
    return config.permits(ListenerKey{udp, inet->address, inet->port});
  if (const auto* const path = std::get_if<UnixEndpoint>(&endpoint))
    return config.permits(path->path);
  return false;
}

Resolved resolve(const AgentEndpoint& target, bool udp, const Config& config) {
  if (!target.port) return resolve_path(target.path, config);
  std::vector<IpAddress> addresses = {IpAddress::loopback4(), IpAddress::loopback6()};
  if (target.address) {
    IpAddress address = unmapped(*target.address);
    // The kernel would take 0.0.0.0 for 127.0.0.1, whatever the rules say of that.
    if (address.is_wildcard() || !is_own_address(address))
      return {{}, GuestStatus::unreachable, EADDRNOTAVAIL};
    addresses = {address};
  }
  Resolved resolved;
  for (const IpAddress& address : addresses)
    if (const Endpoint one{address, *target.port}; permitted(one, udp, config))
      resolved.endpoints.emplace_back(one);
  if (resolved.endpoints.empty()) resolved.status = GuestStatus::denied;
  return resolved;
}

}  // namespace vf::guest
