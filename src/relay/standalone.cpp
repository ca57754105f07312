// SPDX-License-Identifier: LGPL-2.1-or-later

#include "relay/standalone.h"

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <optional>
#include <utility>
#include <variant>

#include "base/listening_socket.h"
#include "relay/endpoint_argument.h"
#include "relay/log.h"

namespace vf {
namespace {

// A socket that listens, and how that is written.
struct Listening {
  Fd socket;
  std::string where;
  std::optional<SocketFile> file;
};

Error explain(const ListenFailure& failure, const std::string& where) {
  Error error = system_error(failure.error_number, std::string(failure.call) + ' ' + where);
  if (error.code == ErrorCode::port_busy)
    error.message = where + " is in use by another program";
  else if (failure.error_number == EADDRNOTAVAIL)
    error.message = where + " is not at an address of this host";
  return error;
}

Result<Listening> finish(std::variant<Fd, ListenFailure> outcome, std::string where) {
  if (const auto* failure = std::get_if<ListenFailure>(&outcome))
    return Unexpected(explain(*failure, where));
  return Listening{std::move(std::get<Fd>(outcome)), std::move(where), std::nullopt};
}

std::string prefix(RelayProtocol protocol) {
  return protocol == RelayProtocol::datagram ? "udp:" : "tcp:";
}

Result<Listening> listen_at(const InetListen& at) {
  const std::string kind = prefix(at.protocol);
  const std::string where =
      kind + (at.port ? Endpoint{at.address, *at.port}.text() : at.address.text());
  auto listening = finish(at.protocol == RelayProtocol::datagram ? bind_udp(at.address, at.port)
                                                                 : listen_tcp(at.address, at.port),
                          where);
  if (!listening) return listening;
  const auto local = local_endpoint(listening->socket);
  if (!local) return Unexpected(system_error(errno, "getsockname"));
  listening->where = kind + local->text();
  return listening;
}

Result<Listening> listen_at(const UnixListen& at) {
  const std::string where = text(at.endpoint);
  if (at.endpoint.abstract()) return finish(listen_abstract(at.endpoint), where);
  auto made = SocketFile::listen(at.endpoint.path, at.access);
  if (!made) return Unexpected(std::move(made).error());
  return Listening{std::move(made->socket), where, std::move(made->file)};
}

Result<Listening> listen_at(const VsockEndpoint& at) {
  return finish(listen_vsock(at), text(at));
}

std::string target_text(const ConnectArgument& to) {
  return (std::holds_alternative<Endpoint>(to.endpoint) ? prefix(to.protocol) : "") +
         text(to.endpoint);
}

RelayProtocol protocol_of(const ListenArgument& from) {
  const auto* const inet = std::get_if<InetListen>(&from);
  return inet ? inet->protocol : RelayProtocol::stream;
}

// Whether connecting there is to come in here.
bool leads_to(const ConnectArgument& to, const ListenArgument& from) {
  const auto* inet = std::get_if<InetListen>(&from);
  const auto* endpoint = std::get_if<Endpoint>(&to.endpoint);
  if (inet && endpoint)
    return inet->protocol == to.protocol && inet->port == endpoint->port &&
           (inet->address == endpoint->address ||
            (inet->address.is_wildcard() && endpoint->address.is_loopback()));
  const auto* socket = std::get_if<UnixListen>(&from);
  const auto* path = std::get_if<UnixEndpoint>(&to.endpoint);
  return socket && path && socket->endpoint.path == path->path;
}

using Pairs = std::vector<std::pair<ListenArgument, ConnectArgument>>;

// Whether what comes in at the first of `pairs` comes in there again: a client would be carried
// round until no descriptor is left.
bool goes_round(const Pairs& pairs, std::size_t first) {
  std::size_t at = first;
  for (std::size_t step = 0; step < pairs.size(); ++step) {
    const auto next = std::ranges::find_if(
        pairs, [&](const auto& pair) { return leads_to(pairs[at].second, pair.first); });
    if (next == pairs.end()) return false;
    at = static_cast<std::size_t>(next - pairs.begin());
    if (at == first) return true;
  }
  return false;
}

}  // namespace

std::vector<std::string> StandaloneForwards::paths() const {
  std::vector<std::string> paths;
  for (const SocketFile& file : files)
    paths.push_back(file.path());
  return paths;
}

Result<StandaloneForwards> standalone_forwards(const std::vector<std::string>& arguments,
                                               const StandaloneOptions& options) {
  if (arguments.size() % 2 != 0)
    return Unexpected(
        ErrorCode::invalid_argument,
        "endpoints come in pairs: \"" + arguments.back() + "\" has nothing to connect to");
  // All are understood before the first one listens.
  Pairs pairs;
  for (std::size_t i = 0; i < arguments.size(); i += 2) {
    const auto from = parse_listen_argument(arguments[i]);
    if (!from) return Unexpected(from.error());
    const auto to = parse_connect_argument(arguments[i + 1]);
    if (!to) return Unexpected(to.error());
    if (protocol_of(*from) != to->protocol)
      return Unexpected(ErrorCode::invalid_argument, '"' + arguments[i] + "\" and \"" +
                                                         arguments[i + 1] +
                                                         "\": datagrams go to udp, streams do not");
    if (to->protocol == RelayProtocol::datagram && options.proxy_protocol)
      return Unexpected(ErrorCode::invalid_argument,
                        '"' + arguments[i] + "\": --proxy-protocol is for streams");
    pairs.emplace_back(*from, *to);
  }
  for (std::size_t i = 0; i < pairs.size(); ++i)
    if (goes_round(pairs, i))
      return Unexpected(
          ErrorCode::invalid_argument,
          '"' + arguments[2 * i] + "\" to \"" + arguments[2 * i + 1] + "\" leads back to itself");
  StandaloneForwards made;
  for (const auto& [from, to] : pairs) {
    auto listening = std::visit([](const auto& at) { return listen_at(at); }, from);
    if (!listening) return Unexpected(listening.error());
    RelayAdd add;
    add.forward.key = listening->where + " -> " + target_text(to);
    add.forward.target.endpoints.push_back(to.endpoint);
    add.forward.protocol = to.protocol;
    add.forward.proxy_protocol = options.proxy_protocol;
    add.forward.idle_timeout = options.idle_timeout;
    add.forward.max_connections = options.max_connections;
    add.listeners.push_back(std::move(listening->socket));
    made.forwards.push_back(std::move(add));
    if (listening->file) made.files.push_back(std::move(*listening->file));
  }
  return made;
}

void StandaloneEvents::failing(const std::string& key, int error_number) {
  log_line(LogLevel::warning, "cannot connect" + log_field("forward", key) +
                                  log_field("error", strerror(error_number)));
}

}  // namespace vf
