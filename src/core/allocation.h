// SPDX-License-Identifier: LGPL-2.1-or-later
//
// Which host port a forward gets. Pure: sockets are behind PortBinder.

#pragma once

#include <optional>
#include <vector>

#include "base/fd.h"
#include "base/result.h"
#include "base/socket_file.h"
#include "core/desired.h"

namespace vf {

// Sockets that listen (UDP: are bound), one per address, all on the same port; or one at a path.
struct BoundPort {
  std::optional<Port> port;
  std::vector<IpAddress> addresses;  // fewer than claimed where the host has no ::1
  std::vector<Fd> listeners;
  std::optional<SocketFile> file = {};  // taken away with it
};

class PortBinder {
 public:
  virtual ~PortBinder() = default;
  // Listens on `port` of the claim's protocol at every address of the claim, or at none. No port:
  // the kernel chooses one that is free at all of them. A claim of a socket has no port. PortBusy
  // when a process holds it; NotAllowed, Failed otherwise.
  virtual Result<BoundPort> bind(const HostClaim& claim, std::optional<Port> port) = 0;
  // Who connects is refused from then on, and nobody else gets the port. resume() undoes it; false
  // where the port is lost. Of streams.
  virtual void pause(const std::vector<Fd>& listeners) = 0;
  virtual bool resume(const std::vector<Fd>& listeners) = 0;
};

// Tries, in this order: `sticky` (the port it had before in this run of its domain), the claimed
// port, then what on-busy says. Ports that the policy forbids are passed over.
// Errors: PortBusy naming the port, and the binder's.
Result<BoundPort> allocate(const HostClaim& claim, std::optional<Port> sticky, const Policy& policy,
                           PortBinder& binder);

}  // namespace vf
