// SPDX-License-Identifier: LGPL-2.1-or-later

#pragma once

#include "core/allocation.h"

namespace vf {

// Real sockets, non-blocking, close-on-exec. TCP: listening, SO_REUSEADDR (a port in TIME_WAIT is
// free). UDP: bound, without it, for there it would share the port. Never SO_REUSEPORT. The kernel
// is the arbiter of what is busy.
class HostPorts : public PortBinder {
 public:
  Result<BoundPort> bind(const HostClaim& claim, std::optional<Port> port) override;
  void pause(const std::vector<Fd>& listeners) override;
  bool resume(const std::vector<Fd>& listeners) override;
};

}  // namespace vf
