// SPDX-License-Identifier: LGPL-2.1-or-later

#include "base/relay_endpoint.h"

#include <linux/vm_sockets.h>
#include <sys/un.h>

#include <cstddef>
#include <cstring>

namespace vf {
namespace {

std::optional<SocketAddress> address_of(const Endpoint& endpoint) {
  return SocketAddress::from(endpoint.address, endpoint.port);
}

// A name in the abstract namespace ends with the address, a path with a NUL.
std::optional<SocketAddress> address_of(const UnixEndpoint& endpoint) {
  const std::string& path = endpoint.path;
  sockaddr_un local{};
  if (path.size() < (endpoint.abstract() ? 2u : 1u) || path.size() >= sizeof local.sun_path ||
      path.find('\0') != std::string::npos)
    return std::nullopt;
  local.sun_family = AF_UNIX;
  std::memcpy(local.sun_path, path.data(), path.size());
  if (endpoint.abstract()) local.sun_path[0] = '\0';
  SocketAddress address;
  std::memcpy(&address.storage, &local, sizeof local);
  address.length = static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + path.size() +
                                          (endpoint.abstract() ? 0 : 1));
  return address;
}

std::optional<SocketAddress> address_of(const VsockEndpoint& endpoint) {
  sockaddr_vm remote{};
  remote.svm_family = AF_VSOCK;
  remote.svm_cid = endpoint.cid;
  remote.svm_port = endpoint.port;
  SocketAddress address;
  std::memcpy(&address.storage, &remote, sizeof remote);
  address.length = sizeof remote;
  return address;
}

std::optional<SocketAddress> address_of(const AgentEndpoint&) {
  return std::nullopt;
}

std::string text_of(const Endpoint& endpoint) {
  return endpoint.text();
}
std::string text_of(const UnixEndpoint& endpoint) {
  return "unix:" + endpoint.path;
}
std::string text_of(const VsockEndpoint& endpoint) {
  return "vsock:" + std::to_string(endpoint.cid) + ':' + std::to_string(endpoint.port);
}

std::string text_of(const AgentEndpoint& endpoint) {
  if (!endpoint.port) return endpoint.path + " in the guest";
  const std::string where = endpoint.address
                                ? Endpoint{*endpoint.address, *endpoint.port}.text()
                                : "localhost:" + std::to_string(endpoint.port->number());
  return where + " in the guest";
}

}  // namespace

std::string text(const RelayEndpoint& endpoint) {
  return std::visit([](const auto& typed) { return text_of(typed); }, endpoint);
}

std::optional<SocketAddress> socket_address(const RelayEndpoint& endpoint) {
  return std::visit([](const auto& typed) { return address_of(typed); }, endpoint);
}

}  // namespace vf
