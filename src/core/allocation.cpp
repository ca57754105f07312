// SPDX-License-Identifier: LGPL-2.1-or-later

#include "core/allocation.h"

namespace vf {
namespace {

// The kernel may choose a port that the policy forbids; a few tries find an allowed one unless the
// policy allows nearly none, in which case its ranges are walked.
Result<BoundPort> allocate_any(const HostClaim& claim, const Policy& policy, PortBinder& binder) {
  for (int tries = 0; tries < 8; ++tries) {
    auto bound = binder.bind(claim, std::nullopt);
    if (!bound || policy.allows(*bound->port)) return bound;
  }
  for (const PortRange& range : policy.host_ports)
    for (std::uint32_t offset = 0; offset < range.width(); ++offset) {
      auto bound = binder.bind(claim, range.at(offset));
      if (bound || bound.error().code != ErrorCode::port_busy) return bound;
    }
  return Unexpected(ErrorCode::port_busy, "every allowed host port is in use");
}

}  // namespace

Result<BoundPort> allocate(const HostClaim& claim, std::optional<Port> sticky, const Policy& policy,
                           PortBinder& binder) {
  if (!claim.socket.empty()) return binder.bind(claim, std::nullopt);
  const bool may_move = !claim.port || claim.on_busy != OnBusy::fail;
  if (sticky && policy.allows(*sticky) && (may_move || sticky == claim.port)) {
    auto bound = binder.bind(claim, sticky);
    if (bound || bound.error().code != ErrorCode::port_busy) return bound;
  }
  if (!claim.port) return allocate_any(claim, policy, binder);

  auto first = binder.bind(claim, claim.port);
  if (first || first.error().code != ErrorCode::port_busy || claim.on_busy == OnBusy::fail)
    return first;
  if (claim.on_busy == OnBusy::any) return allocate_any(claim, policy, binder);

  for (std::uint32_t number = claim.port->number() + 1u; number <= 65535; ++number) {
    const Port port = *Port::from(number);
    if (!policy.allows(port)) continue;
    auto bound = binder.bind(claim, port);
    if (bound || bound.error().code != ErrorCode::port_busy) return bound;
  }
  return Unexpected(ErrorCode::port_busy, "port " + std::to_string(claim.port->number()) +
                                              " and every port above it are in use");
}

}  // namespace vf
