// SPDX-License-Identifier: LGPL-2.1-or-later

#include "base/listening_socket.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <sys/un.h>

#include <cerrno>
#include <cstddef>
#include <cstring>

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

// The kernel takes a port of its own choice back as soon as nobody listens on it, so it only tells
// which one is free.
std::variant<Fd, ListenFailure> bound_to_free_port(const IpAddress& address) {
  constexpr int tries = 16;
  for (int i = 0;; ++i) {
    auto probe = bound(SOCK_STREAM, address, std::nullopt);
    Fd* const fd = std::get_if<Fd>(&probe);
    const auto chosen = fd ? local_endpoint(*fd) : std::nullopt;
    if (!chosen) return probe;
    fd->reset();
    auto outcome = bound(SOCK_STREAM, address, chosen->port);
    const auto* const failure = std::get_if<ListenFailure>(&outcome);
    if (!failure || failure->error_number != EADDRINUSE || i == tries) return outcome;
  }
}

}  // namespace

std::variant<Fd, ListenFailure> listen_tcp(const IpAddress& address, std::optional<Port> port) {
  auto outcome = port ? bound(SOCK_STREAM, address, port) : bound_to_free_port(address);
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

std::string local_path(const Fd& socket) {
  sockaddr_un local{};
  socklen_t length = sizeof local;
  if (::getsockname(socket.get(), reinterpret_cast<sockaddr*>(&local), &length) < 0) return {};
  if (local.sun_family != AF_UNIX || length <= offsetof(sockaddr_un, sun_path)) return {};
  return std::string(local.sun_path,
                     strnlen(local.sun_path, length - offsetof(sockaddr_un, sun_path)));
}

// Linux takes SHUT_RD of a listening socket as the end of its listening, and keeps the binding.
void pause_listening(const Fd& socket) {
  const int off = 0;
  ::setsockopt(socket.get(), SOL_SOCKET, SO_REUSEADDR, &off, sizeof off);
  ::shutdown(socket.get(), SHUT_RD);
}

bool resume_listening(const Fd& socket) {
  const int on = 1;
  ::setsockopt(socket.get(), SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
  return ::listen(socket.get(), backlog) == 0;
}

Result<uid_t> adopt_control_socket(const Fd& socket) {
  const int fd = socket.get();
  int type = 0;
  int listens = 0;
  socklen_t length = sizeof type;
  struct stat status {};
  if (getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &length) < 0 ||
      getsockopt(fd, SOL_SOCKET, SO_ACCEPTCONN, &listens, &length) < 0 || fstat(fd, &status) < 0)
    return Unexpected(system_error(errno, "control socket"));
  if (type != SOCK_SEQPACKET || listens == 0)
    return Unexpected(ErrorCode::invalid_argument,
                      "the control socket is not a listening SOCK_SEQPACKET socket");
  const int flags = fcntl(fd, F_GETFL);
  if (flags < 0 || fcntl(fd, F_SETFL, flags | O_NONBLOCK) < 0 || fcntl(fd, F_SETFD, FD_CLOEXEC) < 0)
    return Unexpected(system_error(errno, "control socket"));
  return status.st_uid;
}

std::optional<Endpoint> local_endpoint(const Fd& socket) {
  SocketAddress local;
  local.length = sizeof local.storage;
  if (::getsockname(socket.get(), local.get(), &local.length) < 0) return std::nullopt;
  return local.endpoint();
}

}  // namespace vf
