// SPDX-License-Identifier: LGPL-2.1-or-later

#include "metrics/listening.h"

#include <fcntl.h>
#include <sys/socket.h>
#include <systemd/sd-daemon.h>

#include <cerrno>
#include <utility>

#include "base/listening_socket.h"
#include "base/printable.h"

namespace vf {
namespace {

constexpr mode_t socket_mode = 0660;

Unexpected not_loopback(const std::string& name) {
  return Unexpected(ErrorCode::not_allowed,
                    name +
                        " is not a loopback address: metrics are for this host; have a reverse "
                        "proxy in front of the unix socket ask who may see them from elsewhere");
}

Result<Endpoint> parse_endpoint(const std::string& place) {
  const std::size_t colon = place.rfind(':');
  std::string host = place.substr(0, colon == std::string::npos ? 0 : colon);
  const bool bracketed = host.size() > 2 && host.front() == '[' && host.back() == ']';
  if (bracketed) host = host.substr(1, host.size() - 2);
  const auto address = IpAddress::parse(host);
  const auto port =
      colon == std::string::npos ? std::nullopt : Port::parse(place.substr(colon + 1));
  if (!address || !port || address->is_v4() == bracketed)
    return Unexpected(ErrorCode::invalid_argument,
                      '"' + printable(place) +
                          "\" is no place to listen at: allowed are an absolute path, "
                          "127.0.0.1:PORT and [::1]:PORT");
  return Endpoint{*address, *port};
}

}  // namespace

Result<Listening> listen_at(const std::string& place) {
  if (place.starts_with('/')) {
    auto made = SocketFile::listen(place, {socket_mode, {}, {}});
    if (!made) return Unexpected(std::move(made).error());
    return Listening{std::move(made->socket), false, place, std::move(made->file)};
  }
  const auto endpoint = parse_endpoint(place);
  if (!endpoint) return Unexpected(endpoint.error());
  if (!endpoint->address.is_loopback()) return not_loopback(endpoint->text());
  auto listening = listen_tcp(endpoint->address, endpoint->port);
  if (const auto* failure = std::get_if<ListenFailure>(&listening)) {
    const bool busy = failure->error_number == EADDRINUSE;
    return Unexpected(
        busy ? ErrorCode::port_busy : ErrorCode::failed,
        endpoint->text() + ": " + system_error(failure->error_number, failure->call).message);
  }
  return Listening{std::move(std::get<Fd>(listening)), true, endpoint->text()};
}

Result<Listening> take_listener(Fd socket) {
  const int fd = socket.get();
  if (sd_is_socket(fd, AF_UNSPEC, SOCK_STREAM, 1) <= 0)
    return Unexpected(ErrorCode::failed,
                      "a descriptor that was passed is no stream socket that listens");
  const int flags = fcntl(fd, F_GETFL);
  if (flags < 0 || fcntl(fd, F_SETFL, flags | O_NONBLOCK) != 0 ||
      fcntl(fd, F_SETFD, FD_CLOEXEC) != 0)
    return Unexpected(system_error(errno, "fcntl"));
  if (const std::string path = local_path(socket); !path.empty())
    return Listening{std::move(socket), false, path};
  const auto endpoint = local_endpoint(socket);
  if (!endpoint)
    return Unexpected(ErrorCode::not_allowed,
                      "a socket that was passed is neither TCP nor at a path");
  if (!endpoint->address.is_loopback()) return not_loopback(endpoint->text());
  return Listening{std::move(socket), true, endpoint->text()};
}

Result<std::vector<Listening>> inherited_listeners() {
  const int count = sd_listen_fds(1);
  std::vector<Fd> sockets;
  for (int index = 0; index < count; ++index)
    sockets.emplace_back(SD_LISTEN_FDS_START + index);
  std::vector<Listening> listeners;
  for (Fd& socket : sockets) {
    auto taken = take_listener(std::move(socket));
    if (!taken) return Unexpected(std::move(taken).error());
    listeners.push_back(std::move(*taken));
  }
  return listeners;
}

}  // namespace vf
