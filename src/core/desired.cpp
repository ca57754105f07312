// SPDX-License-Identifier: LGPL-2.1-or-later

#include "core/desired.h"

#include <algorithm>

#include "core/forward_view.h"

namespace vf {
namespace {

HostClaim claim_of(const ForwardDefinition& definition, const Policy& policy) {
  HostClaim claim;
  claim.protocol = definition.protocol;
  if (const auto* socket = std::get_if<SocketPath>(&definition.host)) {
    claim.socket = policy.place(socket->path).value_or(socket->path);
    claim.default_addresses = false;
    claim.on_busy = OnBusy::fail;
    return claim;
  }
  claim.default_addresses = !definition.host_address;
  if (definition.host_address)
    claim.addresses = {*definition.host_address};
  else
    claim.addresses = {IpAddress::loopback4(), IpAddress::loopback6()};
  if (const auto* ports = std::get_if<PortRange>(&definition.host)) claim.port = ports->low();
  claim.on_busy = definition.on_busy;
  return claim;
}

// What asks for a stream where there are datagrams; empty when nothing does.
std::string unfit_for_datagrams(const ForwardDefinition& definition) {
  if (definition.protocol != Protocol::udp) return {};
  const auto needs_stream = [](std::string_view what) {
    return std::string(what) + " is not supported with protocol=\"udp\": it takes a stream";
  };
  if (definition.proxy_protocol != ProxyProtocol::none)
    return needs_stream("proxy-protocol=\"" + std::string(text(definition.proxy_protocol)) + '"');
  if (std::holds_alternative<SocketPath>(definition.guest)) return needs_stream("guest-socket");
  if (std::holds_alternative<SocketPath>(definition.host)) return needs_stream("host-socket");
  if (definition.transport == Transport::ssh) return needs_stream("transport=\"ssh\"");
  if (definition.offload == Offload::redirect) return needs_stream("offload=\"redirect\"");
  return {};
}

// Fills in why a forward is not served, if so.
void judge(SingleForward& forward, const Policy& policy) {
  const auto refuse = [&](ForwardState state, std::string reason) {
    forward.refused = state;
    forward.reason = std::move(reason);
  };
  if (!forward.spec.enabled) return refuse(ForwardState::disabled, "enabled=\"no\"");
  if (std::string unfit = unfit_for_datagrams(forward.spec); !unfit.empty())
    return refuse(ForwardState::failed, std::move(unfit));
  if (auto allowed = check(policy, forward.spec); !allowed)
    refuse(ForwardState::denied, allowed.error().message);
}

}  // namespace

std::optional<Port> SingleForward::guest_port() const {
  const auto* ports = std::get_if<PortRange>(&spec.guest);
  return ports ? std::optional(ports->low()) : std::nullopt;
}

SingleForward single_forward(std::string id, std::string definition, ForwardDefinition spec,
                             const Policy& policy) {
  SingleForward single;
  single.id = std::move(id);
  single.definition = std::move(definition);
  single.spec = std::move(spec);
  single.claim = claim_of(single.spec, policy);
  judge(single, policy);
  return single;
}

std::vector<SingleForward> expand(const std::vector<ForwardDefinition>& definitions,
                                  const Policy& policy) {
  std::vector<SingleForward> forwards;
  for (const ForwardDefinition& definition : definitions) {
    const std::string identity = definition.identity();
    const auto* guest_ports = std::get_if<PortRange>(&definition.guest);
    const auto* host_ports = std::get_if<PortRange>(&definition.host);
    const std::uint32_t width = guest_ports ? guest_ports->width() : 1;
    for (std::uint32_t offset = 0; offset < width; ++offset) {
      ForwardDefinition spec = definition;
      std::optional<Port> guest_port;
      if (guest_ports) guest_port = guest_ports->at(offset);
      if (guest_ports) spec.guest = PortRange(*guest_port);
      if (host_ports) spec.host = PortRange(host_ports->at(offset));
      SingleForward& single = forwards.emplace_back(single_forward(
          forward_id(identity, width > 1, guest_port), identity, std::move(spec), policy));
      if (forwards.size() > policy.forwards_per_domain) {
        single.refused = ForwardState::denied;
        single.reason = "more than " + std::to_string(policy.forwards_per_domain) +
                        " forwards in one domain (" +
                        policy.origin("limits", "forwards-per-domain") + ")";
        return forwards;
      }
    }
  }
  return forwards;
}

}  // namespace vf
