// SPDX-License-Identifier: LGPL-2.1-or-later

#include "transport/transport.h"

#include <algorithm>

namespace vf {
namespace {

Unexpected lacks(std::string what) {
  return Unexpected(ErrorCode::failed, std::move(what));
}

Unexpected has_none(std::string what) {
  return Unexpected(ErrorCode::not_supported, std::move(what));
}

bool same_address(const IpAddress& one, const IpAddress& other) {
  return std::ranges::equal(one.bytes(), other.bytes());
}

bool on_loopback_only(const std::vector<const DetectedPort*>& listeners) {
  return !listeners.empty() &&
         std::ranges::all_of(listeners, [](const DetectedPort* one) { return one->loopback(); });
}

// Where inside the guest a connection has to go that nobody names an address for: nowhere special
// where localhost reaches the service.
std::optional<IpAddress> own_address(const std::vector<const DetectedPort*>& listeners) {
  const auto answers = [](const DetectedPort* one) {
    return one->wildcard() || one->addresses.front() == IpAddress::loopback4() ||
           one->addresses.front() == IpAddress::loopback6();
  };
  if (listeners.empty() || std::ranges::any_of(listeners, answers)) return std::nullopt;
  return listeners.front()->addresses.front();
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

// ", which has 192.0.2.7 and 2001:db8::7"; empty where nothing is known of it.
std::string known(const std::vector<IpAddress>& addresses) {
  std::string words;
  for (const IpAddress& address : addresses)
    words += (words.empty() ? ", which has " : " and ") + address.text();
  return words;
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
  if (on_loopback_only(listeners))
    return lacks("in the guest it listens on loopback only, out of reach of tcp");

  Route route;
  for (const IpAddress& address : guest.addresses) {
    const bool wanted = !forward.guest_address || same_address(*forward.guest_address, address);
    if (wanted && listens_on(listeners, address))
      route.push_back({Transport::tcp, Endpoint{address, ports->low()}});
  }
  if (!route.empty()) return route;
  if (!guest.bridged && guest.macvtap)
    return has_none(
        "the domain's interface is a macvtap (type='direct'): the host itself cannot reach it");
  if (!guest.bridged)
    return has_none("the domain has no network interface on a bridge of this host");
  if (forward.guest_address)
    return lacks(forward.guest_address->text() +
                 " is not (yet) proven to be an address of the guest" + known(guest.addresses));
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
      return has_none(
          std::string("the domain has no <vsock> device") +
          (remedy ? ": <vsock model='virtio'><cid auto='yes'/></vsock> among its <devices> "
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
  if (!target.address)
    target.address = own_address(guest.listeners(forward.protocol, *target.port));
  return Route{{Transport::vsock, target}};
}

Result<Route> TunnelTransport::route(const GuestReach& guest,
                                     const ForwardDefinition& forward) const {
  const auto wanted = target(guest, forward);
  if (!wanted) return Unexpected(wanted.error());
  const TunnelReach& tunnels = reach(guest);
  if (tunnels.missing) return Unexpected(*tunnels.missing);
  const auto being_laid = std::string(text(kind())) + " is being set up";
  if (!tunnels.ends) return lacks(being_laid);
  const auto end = tunnels.ends->find(*wanted);
  if (end == tunnels.ends->end()) return lacks(being_laid);
  if (!end->second)
    return Unexpected(end->second.error().code,
                      std::string(text(kind())) + ": " + end->second.error().message);
  return Route{{kind(), *end->second}};
}

Result<TunnelTarget> SshTransport::target(const GuestReach& guest,
                                          const ForwardDefinition& forward) const {
  if (!guest.ssh.given)
    return has_none("the domain's metadata has no <ssh>, whose account could be used");
  if (forward.protocol == Protocol::udp) return has_none("ssh does not carry udp");
  TunnelTarget target;
  if (const auto* socket = std::get_if<SocketPath>(&forward.guest)) {
    target.path = socket->path;
    return target;
  }
  target.port = std::get<PortRange>(forward.guest).low();
  target.address = forward.guest_address;
  if (!target.address)
    target.address = own_address(guest.listeners(forward.protocol, *target.port));
  return target;
}

Result<TunnelTarget> UsernetTransport::target(const GuestReach& guest,
                                              const ForwardDefinition& forward) const {
  if (!guest.usernet.given) return has_none("the domain has no interface of type 'user'");
  const auto* ports = std::get_if<PortRange>(&forward.guest);
  if (!ports) return has_none("QEMU's user network does not reach a socket in the guest");
  if (on_loopback_only(guest.listeners(forward.protocol, ports->low())))
    return lacks("in the guest it listens on loopback only, out of reach of QEMU's user network");
  TunnelTarget target;
  target.protocol = forward.protocol;
  target.address = forward.guest_address;
  target.port = ports->low();
  return target;
}

// What the domain has nothing of is no news where something that it has does not serve.
std::string RouteChoice::missing() const {
  std::string failed;
  std::string absent;
  for (const Rejection& rejection : rejected) {
    const ErrorCode code = rejection.reason.code;
    const bool news = code == ErrorCode::failed || code == ErrorCode::invalid_argument;
    std::string& list = news ? failed : absent;
    list += (list.empty() ? "" : "; ") + rejection.reason.message;
  }
  return failed.empty() ? absent : failed;
}

RouteChoice choose_route(std::span<const std::unique_ptr<TransportWay>> ways, const Policy& policy,
                         const GuestReach& guest, const ForwardDefinition& forward) {
  RouteChoice choice;
  for (const auto& way : ways) {
    if (forward.transport != Transport::automatic && forward.transport != way->kind()) continue;
    if (!policy.allows(way->kind())) {
      choice.rejected.push_back(
          {way->kind(),
           {ErrorCode::not_allowed, "transport " + std::string(text(way->kind())) +
                                        " is not allowed by this host (" +
                                        policy.origin("host", "transports") + ")"}});
      continue;
    }
    auto route = way->route(guest, forward);
    if (route)
      std::ranges::move(*route, std::back_inserter(choice.route));
    else
      choice.rejected.push_back({way->kind(), route.error()});
  }
  return choice;
}

}  // namespace vf
