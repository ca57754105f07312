// SPDX-License-Identifier: LGPL-2.1-or-later

#include "relay/standalone.h"

#include <cerrno>
#include <cstring>
#include <utility>

#include "base/listening_socket.h"
#include "relay/endpoint_argument.h"
#include "relay/log.h"

namespace vf {
namespace {

Error explain(const ListenFailure& failure, const ListenArgument& at) {
  const std::string where =
      "tcp:" + (at.port ? Endpoint{at.address, *at.port}.text() : at.address.text());
  Error error = system_error(failure.error_number, std::string(failure.call) + ' ' + where);
  if (error.code == ErrorCode::port_busy)
    error.message = where + " is in use by another program";
  else if (failure.error_number == EADDRNOTAVAIL)
    error.message = where + " is not at an address of this host";
  return error;
}

Result<RelayAdd> forward(const ListenArgument& from, const ConnectArgument& to) {
  auto outcome = listen_tcp(from.address, from.port);
  if (const auto* failure = std::get_if<ListenFailure>(&outcome))
    return Unexpected(explain(*failure, from));
  Fd& socket = std::get<Fd>(outcome);
  const auto at = local_endpoint(socket);
  if (!at) return Unexpected(system_error(errno, "getsockname"));
  RelayAdd add;
  add.forward.key = "tcp:" + at->text() + " -> tcp:" + text(to.endpoint);
  add.forward.target.endpoints.push_back(to.endpoint);
  add.listeners.push_back(std::move(socket));
  return add;
}

}  // namespace

Result<std::vector<RelayAdd>> standalone_forwards(const std::vector<std::string>& arguments) {
  if (arguments.size() % 2 != 0)
    return Unexpected(
        ErrorCode::invalid_argument,
        "endpoints come in pairs: \"" + arguments.back() + "\" has nothing to connect to");
  // All are understood before the first one listens.
  std::vector<std::pair<ListenArgument, ConnectArgument>> pairs;
  for (std::size_t i = 0; i < arguments.size(); i += 2) {
    const auto from = parse_listen_argument(arguments[i]);
    if (!from) return Unexpected(from.error());
    const auto to = parse_connect_argument(arguments[i + 1]);
    if (!to) return Unexpected(to.error());
    pairs.emplace_back(*from, *to);
  }
  std::vector<RelayAdd> forwards;
  for (const auto& [from, to] : pairs) {
    auto added = forward(from, to);
    if (!added) return Unexpected(added.error());
    forwards.push_back(std::move(*added));
  }
  return forwards;
}

void StandaloneEvents::failing(const std::string& key, int error_number) {
  log_line(LogLevel::warning, "cannot connect" + log_field("forward", key) +
                                  log_field("error", strerror(error_number)));
}

}  // namespace vf
