// SPDX-License-Identifier: LGPL-2.1-or-later

#pragma once

#include "base/address.h"
#include "offload/netlink_socket.h"

namespace vf {

// Ends the TCP connection of this network namespace that goes from `local` to `remote`, both IPv4:
// its process sees ECONNABORTED, its peer a reset. False when there is none, or the kernel is built
// without (INET_DIAG_DESTROY). A listening socket is never touched. `diag` is a NETLINK_SOCK_DIAG
// socket.
bool abort_client(NetlinkSocket& diag, const Endpoint& local, const Endpoint& remote);

}  // namespace vf
