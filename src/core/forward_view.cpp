// SPDX-License-Identifier: LGPL-2.1-or-later

#include "core/forward_view.h"

#include <algorithm>

namespace vf {
namespace {

// Where a client on this host connects to: a wildcard is not an address to connect to.
IpAddress client_address(const std::vector<IpAddress>& listening) {
  const IpAddress preferred = IpAddress::loopback4();
  if (listening.empty() ||
      std::find(listening.begin(), listening.end(), preferred) != listening.end())
    return preferred;
  const IpAddress& first = listening.front();
  if (!first.is_wildcard()) return first;
  return first.is_v4() ? preferred : IpAddress::loopback6();
}

}  // namespace

std::string forward_id(const std::string& identity, bool of_range, std::optional<Port> guest_port) {
  if (!of_range || !guest_port) return identity;
  return identity + '#' + std::to_string(guest_port->number());
}

std::string forward_url(const ForwardView& forward, std::string_view scheme) {
  if (!forward.host_port) return {};
  std::string url;
  if (!scheme.empty()) {
    url += scheme;
    url += "://";
  }
  return url + Endpoint{client_address(forward.host_addresses), *forward.host_port}.text();
}

}  // namespace vf
