// SPDX-License-Identifier: LGPL-2.1-or-later

#include "relay/proxy_header.h"

#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/un.h>

#include <cstddef>
#include <cstring>
#include <optional>
#include <span>

#include "base/address.h"

namespace vf {
namespace {

enum class Command : std::uint8_t { local = 0x20, proxy = 0x21 };
enum class Family : std::uint8_t {
  unspecified = 0x00,
  tcp4 = 0x11,
  tcp6 = 0x21,
  unix_stream = 0x31
};

constexpr std::uint8_t signature[] = {'\r', '\n', '\r', '\n', '\0', '\r',
                                      '\n', 'Q',  'U',  'I',  'T',  '\n'};
constexpr std::size_t unix_path_bytes = 108;

using Bytes = std::vector<std::uint8_t>;

void append(Bytes& to, std::span<const std::uint8_t> bytes) {
  to.insert(to.end(), bytes.begin(), bytes.end());
}
// In network order.
void append(Bytes& to, std::size_t number16) {
  to.push_back(static_cast<std::uint8_t>(number16 >> 8));
  to.push_back(static_cast<std::uint8_t>(number16));
}

Bytes header(Command command, Family family, const Bytes& addresses) {
  Bytes bytes;
  append(bytes, signature);
  bytes.push_back(static_cast<std::uint8_t>(command));
  bytes.push_back(static_cast<std::uint8_t>(family));
  append(bytes, addresses.size());
  append(bytes, addresses);
  return bytes;
}

// An IPv4 address that a socket of both families shows as ::ffff:1.2.3.4, as itself.
Endpoint unmapped(const Endpoint& endpoint) {
  constexpr std::uint8_t prefix[12] = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff};
  const auto bytes = endpoint.address.bytes();
  if (bytes.size() != 16 || std::memcmp(bytes.data(), prefix, sizeof prefix) != 0) return endpoint;
  return {*IpAddress::from_bytes(bytes.last(4)), endpoint.port};
}

Bytes inet_header(const Endpoint& client, const Endpoint& server) {
  Bytes addresses;
  append(addresses, client.address.bytes());
  append(addresses, server.address.bytes());
  append(addresses, client.port.number());
  append(addresses, server.port.number());
  return header(Command::proxy, client.address.is_v4() ? Family::tcp4 : Family::tcp6, addresses);
}

void append_path(Bytes& to, const SocketAddress& address) {
  constexpr std::size_t begin = offsetof(sockaddr_un, sun_path);
  sockaddr_un local{};
  std::memcpy(&local, &address.storage, sizeof local);
  const std::size_t length = address.length > begin ? address.length - begin : 0;
  const std::size_t end = to.size() + unix_path_bytes;
  append(to, {reinterpret_cast<const std::uint8_t*>(local.sun_path),
              length < unix_path_bytes ? length : unix_path_bytes});
  to.resize(end);
}

}  // namespace

std::vector<std::uint8_t> proxy_header(int client_fd) {
  SocketAddress client;
  SocketAddress server;
  client.length = server.length = sizeof client.storage;
  if (getpeername(client_fd, client.get(), &client.length) == 0 &&
      getsockname(client_fd, server.get(), &server.length) == 0) {
    if (client.storage.ss_family == AF_UNIX) {
      Bytes addresses;
      append_path(addresses, client);
      append_path(addresses, server);
      return header(Command::proxy, Family::unix_stream, addresses);
    }
    const auto from = client.endpoint();
    const auto to = server.endpoint();
    if (from && to) return inet_header(unmapped(*from), unmapped(*to));
  }
  return header(Command::local, Family::unspecified, {});
}

}  // namespace vf
