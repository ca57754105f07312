// SPDX-License-Identifier: LGPL-2.1-or-later

#include "base/listening_socket.h"

#include <cerrno>

namespace vf {
namespace {

constexpr int backlog = 4096;  // the kernel cuts it to net.core.somaxconn

}  // namespace

namespace {

std::variant<Fd, ListenFailure> bound(int type, const IpAddress& address,
                                      std::optional<Port> port) {
  const int family = address.is_v4() ? AF_INET : AF_INET6;
  Fd fd(::socket(family, type | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  if (!fd) return ListenFailure{errno, "socket"};
  const int on = 1;
  if (type == SOCK_STREAM && ::setsockopt(fd.get(), SOL_SOCKET, SO_REUSEADDR, &on, sizeof on) < 0)
    return ListenFailure{errno, "SO_REUSEADDR"};
  if (family == AF_INET6 && ::setsockopt(fd.get(), IPPROTO_IPV6, IPV6_V6ONLY, &on, sizeof on) < 0)
    return ListenFailure{errno, "IPV6_V6ONLY"};
  const SocketAddress local = SocketAddress::from(address, port);
  if (::bind(fd.get(), local.get(), local.length) < 0) return ListenFailure{errno, "bind"};
  return fd;
}

}  // namespace

std::variant<Fd, ListenFailure> listen_tcp(const IpAddress& address, std::optional<Port> port) {
  auto outcome = bound(SOCK_STREAM, address, port);
  const Fd* const fd = std::get_if<Fd>(&outcome);
  if (fd && ::listen(fd->get(), backlog) < 0) return ListenFailure{errno, "listen"};
  return outcome;
}

std::variant<Fd, ListenFailure> bind_udp(const IpAddress& address, std::optional<Port> port) {
  return bound(SOCK_DGRAM, address, port);
}

namespace {

std::variant<Fd, ListenFailure> listen_stream(const RelayEndpoint& at) {
  const auto local = socket_address(at);
  if (!local) return ListenFailure{EINVAL, "address"};
  Fd fd(::socket(local->storage.ss_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  if (!fd) return ListenFailure{errno, "socket"};
  if (::bind(fd.get(), local->get(), local->length) < 0) return ListenFailure{errno, "bind"};
  if (::listen(fd.get(), backlog) < 0) return ListenFailure{errno, "listen"};
  return fd;
}

}  // namespace

std::variant<Fd, ListenFailure> listen_abstract(const UnixEndpoint& name) {
  return listen_stream(name);
}

std::variant<Fd, ListenFailure> listen_vsock(const VsockEndpoint& at) {
  return listen_stream(at);
}

std::optional<Endpoint> local_endpoint(const Fd& socket) {
  SocketAddress local;
  local.length = sizeof local.storage;
  if (::getsockname(socket.get(), local.get(), &local.length) < 0) return std::nullopt;
  return local.endpoint();
}

}  // namespace vf
