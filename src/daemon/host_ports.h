// SPDX-License-Identifier: LGPL-2.1-or-later

#pragma once

#include "core/allocation.h"

namespace vf {

// Real sockets: TCP, listening, non-blocking, close-on-exec, SO_REUSEADDR (a port in TIME_WAIT is
// free) and never SO_REUSEPORT. The kernel is the arbiter of what is busy.
class HostPorts : public PortBinder {
 public:
  Result<BoundPort> bind(const HostClaim& claim, std::optional<Port> port) override;
};

}  // namespace vf
