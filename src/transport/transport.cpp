// SPDX-License-Identifier: LGPL-2.1-or-later

#include "transport/transport.h"

#include <algorithm>

namespace vf {

Result<Route> TcpTransport::route(const GuestReach& guest, const ForwardDefinition& forward) const {
  const auto* ports = std::get_if<PortRange>(&forward.guest);
  if (!ports)
    return Unexpected(ErrorCode::not_supported, "a socket in the guest cannot be reached by tcp");
  Route route{Transport::tcp, {}};
  for (const IpAddress& address : guest.addresses) {
    const bool same = forward.guest_address &&
                      std::ranges::equal(forward.guest_address->bytes(), address.bytes());
    if (!forward.guest_address || same) route.endpoints.push_back(Endpoint{address, ports->low()});
  }
  if (!route.endpoints.empty()) return route;
  if (!guest.bridged)
    return Unexpected(ErrorCode::failed,
                      "the domain has no network interface on a bridge of this host");
  if (forward.guest_address)
    return Unexpected(ErrorCode::failed, forward.guest_address->text() +
                                             " is not (yet) proven to be an address of the guest");
  return Unexpected(ErrorCode::failed, "no address of the guest has been seen yet");
}

Result<Route> choose_route(std::span<const std::unique_ptr<TransportWay>> ways,
                           const GuestReach& guest, const ForwardDefinition& forward) {
  Result<Route> last =
      Unexpected(ErrorCode::not_supported, "transport \"" + std::string(text(forward.transport)) +
                                               "\" is not supported by this version");
  for (const auto& way : ways) {
    if (forward.transport != Transport::automatic && forward.transport != way->kind()) continue;
    last = way->route(guest, forward);
    if (last) return last;
  }
  return last;
}

}  // namespace vf
