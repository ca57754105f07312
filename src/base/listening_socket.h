// SPDX-License-Identifier: LGPL-2.1-or-later
//
// Sockets that wait for clients: non-blocking, close-on-exec, of TCP SO_REUSEADDR (a port in
// TIME_WAIT is free), and never SO_REUSEPORT, with which others could share the port. The
// kernel is the arbiter of what is busy.

#pragma once

#include <sys/types.h>

#include <optional>
#include <string>
#include <string_view>
#include <variant>

#include "base/address.h"
#include "base/fd.h"
#include "base/relay_endpoint.h"
#include "base/result.h"

namespace vf {

// Which call failed, and its errno.
struct ListenFailure {
  int error_number;
  std::string_view call;
};

// A TCP socket that listens, for IPv6 clients only where the address is IPv6. No port: the kernel
// chooses.
std::variant<Fd, ListenFailure> listen_tcp(const IpAddress& address, std::optional<Port> port);

// A UDP socket, bound. Without SO_REUSEADDR, with which others could take its datagrams.
std::variant<Fd, ListenFailure> bind_udp(const IpAddress& address, std::optional<Port> port);

// A unix stream socket with a name in the abstract namespace.
std::variant<Fd, ListenFailure> listen_abstract(const UnixEndpoint& name);

std::variant<Fd, ListenFailure> listen_vsock(const VsockEndpoint& at);

// Takes over a unix socket that listens for packets (SOCK_SEQPACKET), by which a program is
// controlled: non-blocking and close-on-exec from then on. Whose it is.
Result<uid_t> adopt_control_socket(const Fd& socket);

// Nothing for a socket that is not bound to a port.
std::optional<Endpoint> local_endpoint(const Fd& socket);

// Of a unix socket that is bound to a file; empty for any other.
std::string local_path(const Fd& socket);

// A TCP socket that listens from then on refuses who connects, and keeps its port: without
// SO_REUSEADDR nobody else gets it. resume_listening() says false where it cannot be undone.
void pause_listening(const Fd& socket);
bool resume_listening(const Fd& socket);

}  // namespace vf
