// SPDX-License-Identifier: LGPL-2.1-or-later

#include "daemon/host_ports.h"

#include <cerrno>
#include <string>

namespace vf {
namespace {

constexpr int backlog = 4096;  // the kernel cuts it to net.core.somaxconn

struct ListenFailure {
  int error_number;
  std::string_view call;
};

// A listening socket, or which call failed and why.
std::variant<Fd, ListenFailure> listen_at(const IpAddress& address, std::optional<Port> port) {
  const int family = address.is_v4() ? AF_INET : AF_INET6;
  Fd fd(::socket(family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  if (!fd) return ListenFailure{errno, "socket"};
  const int on = 1;
  if (::setsockopt(fd.get(), SOL_SOCKET, SO_REUSEADDR, &on, sizeof on) < 0)
    return ListenFailure{errno, "SO_REUSEADDR"};
  if (family == AF_INET6 && ::setsockopt(fd.get(), IPPROTO_IPV6, IPV6_V6ONLY, &on, sizeof on) < 0)
    return ListenFailure{errno, "IPV6_V6ONLY"};
  const SocketAddress local = SocketAddress::from(address, port);
  if (::bind(fd.get(), local.get(), local.length) < 0) return ListenFailure{errno, "bind"};
  if (::listen(fd.get(), backlog) < 0) return ListenFailure{errno, "listen"};
  return fd;
}

std::optional<Port> port_of(const Fd& fd) {
  SocketAddress local;
  local.length = sizeof local.storage;
  if (::getsockname(fd.get(), local.get(), &local.length) < 0) return std::nullopt;
  const auto endpoint = local.endpoint();
  return endpoint ? std::optional(endpoint->port) : std::nullopt;
}

// ::1 is missing, not busy: a host or network namespace without IPv6.
bool has_no_ipv6(int error_number) {
  return error_number == EAFNOSUPPORT || error_number == EADDRNOTAVAIL;
}

Error explain(const ListenFailure& failure, const IpAddress& address, std::optional<Port> port) {
  const std::string where = port ? Endpoint{address, *port}.text() : address.text();
  Error error = system_error(failure.error_number, std::string(failure.call) + ' ' + where);
  if (error.code == ErrorCode::port_busy)
    error.message = where + " is in use by another program";
  else if (error.code == ErrorCode::not_allowed && port && port->number() < 1024)
    error.message = "host port " + std::to_string(port->number()) +
                    " is privileged: take one from 1024 on, or use the system daemon";
  else if (failure.error_number == EADDRNOTAVAIL)
    error.message = address.text() + " is not an address of this host";
  return error;
}

}  // namespace

Result<BoundPort> HostPorts::bind(const HostClaim& claim, std::optional<Port> port) {
  // With a kernel-chosen port the later addresses may find it busy; another choice then.
  for (int tries = 0;; ++tries) {
    std::optional<Port> chosen = port;
    std::vector<IpAddress> addresses;
    std::vector<Fd> listeners;
    std::optional<Error> error;
    for (const IpAddress& address : claim.addresses) {
      auto outcome = listen_at(address, chosen);
      if (auto* failure = std::get_if<ListenFailure>(&outcome)) {
        const bool dispensable = claim.default_addresses && !address.is_v4() && !listeners.empty();
        if (dispensable && has_no_ipv6(failure->error_number)) continue;
        error = explain(*failure, address, chosen);
        break;
      }
      Fd& fd = std::get<Fd>(outcome);
      if (!chosen) chosen = port_of(fd);
      addresses.push_back(address);
      listeners.push_back(std::move(fd));
    }
    if (!error && chosen) return BoundPort{*chosen, std::move(addresses), std::move(listeners)};
    if (!error) error = Error{ErrorCode::failed, "the kernel gave no port"};
    if (port || error->code != ErrorCode::port_busy || tries == 32) return Unexpected(*error);
  }
}

}  // namespace vf
