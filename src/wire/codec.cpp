// SPDX-License-Identifier: LGPL-2.1-or-later

#include "wire/codec.h"

#include "base/printable.h"

namespace vf::codec {
namespace {

enum class EndpointKind : std::uint8_t {
  inet4 = 1,
  inet6 = 2,
  unix_socket = 3,
  vsock = 4,
  agent_inet4 = 5,
  agent_inet6 = 6,
  agent_localhost = 7,
  agent_unix = 8
};

std::span<const std::uint8_t> bytes_of(std::string_view text) {
  return {reinterpret_cast<const std::uint8_t*>(text.data()), text.size()};
}

// Either a port, or an absolute path that the guest's kernel takes.
bool fits(const AgentEndpoint& endpoint) {
  if (endpoint.port) return endpoint.path.empty();
  return !endpoint.address && endpoint.path.starts_with('/') &&
         endpoint.path.size() <= AgentEndpoint::max_path_bytes &&
         endpoint.path.find('\0') == std::string::npos;
}

}  // namespace

void Writer::text(std::string_view text) {
  number(static_cast<std::uint16_t>(text.size()));
  raw(bytes_of(text));
}

void Writer::endpoint(const RelayEndpoint& endpoint) {
  std::visit([this](const auto& typed) { put(typed); }, endpoint);
}

void Writer::put(const Endpoint& endpoint) {
  number(endpoint.address.is_v4() ? EndpointKind::inet4 : EndpointKind::inet6);
  number(endpoint.port.number());
  raw(endpoint.address.bytes());
  if (!endpoint.address.is_v4()) number(endpoint.address.scope());
}

void Writer::put(const UnixEndpoint& endpoint) {
  number(EndpointKind::unix_socket);
  number(static_cast<std::uint8_t>(endpoint.path.size()));
  raw(bytes_of(endpoint.path));
}

void Writer::put(const VsockEndpoint& endpoint) {
  number(EndpointKind::vsock);
  number(endpoint.cid);
  number(endpoint.port);
}

void Writer::put(const AgentEndpoint& endpoint) {
  if (!endpoint.port) {
    number(EndpointKind::agent_unix);
    number(static_cast<std::uint8_t>(endpoint.path.size()));
    return raw(bytes_of(endpoint.path));
  }
  number(!endpoint.address           ? EndpointKind::agent_localhost
         : endpoint.address->is_v4() ? EndpointKind::agent_inet4
                                     : EndpointKind::agent_inet6);
  number(endpoint.port->number());
  if (endpoint.address) raw(endpoint.address->bytes());
}

std::span<const std::uint8_t> Reader::raw(std::size_t length) {
  if (failed_ || length > rest_.size()) {
    failed_ = true;
    return {};
  }
  const auto taken = rest_.first(length);
  rest_ = rest_.subspan(length);
  return taken;
}

std::string Reader::text(std::size_t most) {
  const auto length = number<std::uint16_t>();
  if (length > most) failed_ = true;
  const auto taken = raw(length);
  return std::string(taken.begin(), taken.end());
}

std::string Reader::printable_text(std::size_t most) {
  std::string read = text(most);
  if (!fits_printable(read, most)) failed_ = true;
  return read;
}

std::string Reader::key() {
  std::string read = text(key_max_bytes);
  if (read.empty()) failed_ = true;
  return read;
}

std::optional<RelayEndpoint> Reader::endpoint() {
  std::optional<RelayEndpoint> read;
  switch (static_cast<EndpointKind>(number<std::uint8_t>())) {
    case EndpointKind::inet4:
      read = inet(4);
      break;
    case EndpointKind::inet6:
      read = inet(16);
      break;
    case EndpointKind::unix_socket: {
      const auto path = raw(number<std::uint8_t>());
      read = UnixEndpoint{std::string(path.begin(), path.end())};
      break;
    }
    case EndpointKind::vsock: {
      const auto cid = number<std::uint32_t>();
      read = VsockEndpoint{cid, number<std::uint32_t>()};
      break;
    }
    case EndpointKind::agent_inet4:
      read = agent(4);
      break;
    case EndpointKind::agent_inet6:
      read = agent(16);
      break;
    case EndpointKind::agent_localhost:
      read = agent(0);
      break;
    case EndpointKind::agent_unix: {
      const auto path = raw(number<std::uint8_t>());
      read = AgentEndpoint{{}, {}, std::string(path.begin(), path.end())};
      break;
    }
    default:
      failed_ = true;
  }
  if (read && !codec::fits(*read)) failed_ = true;
  return failed_ ? std::nullopt : read;
}

std::optional<RelayEndpoint> Reader::agent(std::size_t length) {
  const auto port = Port::from(number<std::uint16_t>());
  const auto address_bytes = raw(length);
  if (!port || failed_) {
    failed_ = true;
    return std::nullopt;
  }
  return AgentEndpoint{IpAddress::from_bytes(address_bytes), port, {}};
}

std::optional<RelayEndpoint> Reader::inet(std::size_t length) {
  const auto port = Port::from(number<std::uint16_t>());
  const auto address_bytes = raw(length);
  const auto scope = length == 4 ? 0 : number<std::uint32_t>();
  const auto address = IpAddress::from_bytes(address_bytes, scope);
  // A scope where there is none to be would be lost.
  if (!port || !address || address->scope() != scope) {
    failed_ = true;
    return std::nullopt;
  }
  return Endpoint{*address, *port};
}

Fd Reader::only(std::vector<Fd>& fds) {
  if (fds.size() != 1) {
    failed_ = true;
    return {};
  }
  return std::move(std::exchange(fds, {}).front());
}

bool fits(const std::string& key) {
  return !key.empty() && key.size() <= key_max_bytes;
}

bool fits(const RelayEndpoint& endpoint) {
  const auto* agent = std::get_if<AgentEndpoint>(&endpoint);
  return agent ? fits(*agent) : socket_address(endpoint).has_value();
}

bool fits_printable(const std::string& text, std::size_t most) {
  return text.size() <= most && printable(text, most) == text;
}

}  // namespace vf::codec
