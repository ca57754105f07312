// SPDX-License-Identifier: LGPL-2.1-or-later

#include "transport/transport.h"

#include <algorithm>

namespace vf {
namespace {

Unexpected lacks(std::string what) {
  return Unexpected(ErrorCode::failed, std::move(what));
}

bool same_address(const IpAddress& one, const IpAddress& other) {
  return std::ranges::equal(one.bytes(), other.bytes());
}

// Whether a connection from outside to `address` reaches one of the listeners. Where the guest has
// not said what listens, it may.
bool listens_on(const std::vector<const DetectedPort*>& listeners, const IpAddress& address) {
  if (listeners.empty()) return true;
  return std::ranges::any_of(listeners, [&](const DetectedPort* one) {
    return one->wildcard() || std::ranges::any_of(one->addresses, [&](const IpAddress& own) {
             return same_address(own, address);
           });
  });
}

}  // namespace

std::vector<const DetectedPort*> GuestReach::listeners(Protocol protocol, Port port) const {
  std::vector<const DetectedPort*> found;
  if (!ports) return found;
  for (const DetectedPort& one : *ports)
    if (one.protocol == protocol && one.port == port) found.push_back(&one);
  return found;
}

Result<Route> TcpTransport::route(const GuestReach& guest, const ForwardDefinition& forward) const {
  const auto* ports = std::get_if<PortRange>(&forward.guest);
  if (!ports) return lacks("a socket in the guest cannot be reached by tcp");
  const auto listeners = guest.listeners(forward.protocol, ports->low());
  const bool loopback_only =
      !listeners.empty() &&
      std::ranges::all_of(listeners, [](const DetectedPort* one) { return one->loopback(); });
  if (loopback_only) return lacks("in the guest it listens on loopback only, out of reach of tcp");

  Route route;
  for (const IpAddress& address : guest.addresses) {
    const bool wanted = !forward.guest_address || same_address(*forward.guest_address, address);
    if (wanted && listens_on(listeners, address))
      route.push_back({Transport::tcp, Endpoint{address, ports->low()}});
  }
  if (!route.empty()) return route;
  if (!guest.bridged) return lacks("the domain has no network interface on a bridge of this host");
  if (forward.guest_address)
    return lacks(forward.guest_address->text() +
                 " is not (yet) proven to be an address of the guest");
  if (!guest.addresses.empty())
    return lacks("in the guest it listens on none of the addresses that are proven to be its own");
  return lacks("no address of the guest has been seen yet");
}

Result<Route> VsockTransport::route(const GuestReach& guest,
                                    const ForwardDefinition& forward) const {
  switch (guest.agent) {
    case AgentState::no_device: {
      // How to get one, for who asked for it or whom nothing else can help.
      const bool remedy = forward.transport == kind() || !guest.addresses.empty();
      return lacks(std::string("the domain has no <vsock> device") +
                   (remedy
                        ? ": <vsock model='virtio'><cid auto='yes'/></vsock> among its <devices> "
                          "makes one"
                        : ""));
    }
    case AgentState::absent:
      return lacks("virt-forward-guest does not answer in the guest: " + guest.agent_reason);
    case AgentState::present:
      break;
  }
  AgentEndpoint target;
  if (const auto* socket = std::get_if<SocketPath>(&forward.guest)) {
    target.path = socket->path;
    return Route{{Transport::vsock, target}};
  }
  target.port = std::get<PortRange>(forward.guest).low();
  target.address = forward.guest_address;
  if (!target.address) {
    // Not where localhost reaches it, but on one address of its own.
    const auto listeners = guest.listeners(forward.protocol, *target.port);
    const auto answers = [](const DetectedPort* one) {
      return one->wildcard() || one->addresses.front() == IpAddress::loopback4() ||
             one->addresses.front() == IpAddress::loopback6();
    };
    if (!listeners.empty() && std::ranges::none_of(listeners, answers))
      target.address = listeners.front()->addresses.front();
  }
  return Route{{Transport::vsock, target}};
}

Result<Route> choose_route(std::span<const std::unique_ptr<TransportWay>> ways,
                           const GuestReach& guest, const ForwardDefinition& forward) {
  Route all;
  std::string missing;
  for (const auto& way : ways) {
    if (forward.transport != Transport::automatic && forward.transport != way->kind()) continue;
    auto route = way->route(guest, forward);
    if (route)
      std::ranges::move(*route, std::back_inserter(all));
    else
      missing += (missing.empty() ? "" : "; ") + route.error().message;
  }
  if (!all.empty()) return all;
  if (missing.empty())
    missing = "transport \"" + std::string(text(forward.transport)) +
              "\" is not supported by this version";
  return lacks(std::move(missing));
}

}  // namespace vf
