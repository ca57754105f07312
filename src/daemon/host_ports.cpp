// SPDX-License-Identifier: LGPL-2.1-or-later

#include "daemon/host_ports.h"

#include <algorithm>
#include <cerrno>
#include <cstdint>
#include <fstream>
#include <string>
#include <utility>

#include "base/listening_socket.h"

namespace vf {
namespace {

// ::1 is missing, not busy: a host or network namespace without IPv6.
bool has_no_ipv6(int error_number) {
  return error_number == EAFNOSUPPORT || error_number == EADDRNOTAVAIL;
}

std::uint32_t first_unprivileged_port() {
  std::uint32_t number = 1024;
  std::ifstream("/proc/sys/net/ipv4/ip_unprivileged_port_start") >> number;
  return number;
}

// Not busy: another port would be another forward than the one that was asked for.
std::string not_permitted(Port port) {
  const std::uint32_t first = first_unprivileged_port();
  std::string message = "host port " + std::to_string(port.number());
  if (port.number() >= first) return message + " is not allowed by this system";
  const std::string from = std::to_string(first);
  return message + " is not for ordinary users here (net.ipv4.ip_unprivileged_port_start is " +
         from + "): take one from " + from +
         " on, use qemu:///system, or have root lower that setting";
}

Error explain(const ListenFailure& failure, const IpAddress& address, std::optional<Port> port) {
  const std::string where = port ? Endpoint{address, *port}.text() : address.text();
  Error error = system_error(failure.error_number, std::string(failure.call) + ' ' + where);
  if (error.code == ErrorCode::port_busy)
    error.message = where + " is in use by another program";
  else if (error.code == ErrorCode::not_allowed && port)
    error.message = not_permitted(*port);
  else if (failure.error_number == EADDRNOTAVAIL)
    error.message = address.text() + " is not an address of this host";
  return error;
}

// Who may enter the directory may connect, as every process of the host may to a port on loopback.
Result<BoundPort> listen_at(const std::string& path) {
  auto listening = SocketFile::listen(path, {.mode = 0666});
  if (!listening) return Unexpected(std::move(listening).error());
  BoundPort bound;
  bound.listeners.push_back(std::move(listening->socket));
  bound.file = std::move(listening->file);
  return bound;
}

}  // namespace

Result<BoundPort> HostPorts::bind(const HostClaim& claim, std::optional<Port> port) {
  if (!claim.socket.empty()) return listen_at(claim.socket);
  // With a kernel-chosen port the later addresses may find it busy; another choice then.
  for (int tries = 0;; ++tries) {
    std::optional<Port> chosen = port;
    std::vector<IpAddress> addresses;
    std::vector<Fd> listeners;
    std::optional<Error> error;
    for (const IpAddress& address : claim.addresses) {
      auto outcome =
          claim.protocol == Protocol::udp ? bind_udp(address, chosen) : listen_tcp(address, chosen);
      if (auto* failure = std::get_if<ListenFailure>(&outcome)) {
        const bool dispensable = claim.default_addresses && !address.is_v4() && !listeners.empty();
        if (dispensable && has_no_ipv6(failure->error_number)) continue;
        error = explain(*failure, address, chosen);
        break;
      }
      Fd& fd = std::get<Fd>(outcome);
      if (!chosen)
        if (const auto local = local_endpoint(fd)) chosen = local->port;
      addresses.push_back(address);
      listeners.push_back(std::move(fd));
    }
    if (!error && chosen) return BoundPort{*chosen, std::move(addresses), std::move(listeners)};
    if (!error) error = Error{ErrorCode::failed, "the kernel gave no port"};
    if (port || error->code != ErrorCode::port_busy || tries == 32) return Unexpected(*error);
  }
}

void HostPorts::pause(const std::vector<Fd>& listeners) {
  std::ranges::for_each(listeners, pause_listening);
}

bool HostPorts::resume(const std::vector<Fd>& listeners) {
  return std::ranges::all_of(listeners, resume_listening);
}

}  // namespace vf
