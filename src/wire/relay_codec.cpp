// SPDX-License-Identifier: LGPL-2.1-or-later

#include "wire/relay_codec.h"

#include <algorithm>

namespace vf::relay_codec {

void Writer::forward(const RelayForward& forward) {
  key(forward.key);
  number(forward.max_connections);
  number(forward.max_domain_connections);
  number(forward.idle_timeout);
  number(forward.protocol);
  number(static_cast<std::uint8_t>(forward.proxy_protocol));
  number(static_cast<std::uint8_t>(forward.target.endpoints.size()));
  for (const RelayEndpoint& one : forward.target.endpoints)
    endpoint(one);
}

void Writer::listener(const ListenerKey& key) {
  number(static_cast<std::uint8_t>(key.udp));
  number(static_cast<std::uint8_t>(key.address.is_v4()));
  raw(key.address.bytes());
  number(key.port.number());
}

void Writer::listener(const GuestListener& one) {
  listener(one.key);
  number(one.pid);
  number(one.uid);
  text(one.name);
  text(one.command);
  text(one.container);
}

RelayForward Reader::forward() {
  RelayForward forward;
  forward.key = key();
  forward.max_connections = number<std::uint32_t>();
  forward.max_domain_connections = number<std::uint32_t>();
  forward.idle_timeout = number<std::uint32_t>();
  forward.protocol = choice<RelayProtocol>(RelayProtocol::datagram);
  forward.proxy_protocol = flag();
  const auto count = number<std::uint8_t>();
  if (count > relay_max_endpoints) fail();
  for (unsigned i = 0; i < count && !failed(); ++i)
    if (auto read = endpoint()) forward.target.endpoints.push_back(std::move(*read));
  return forward;
}

ListenerKey Reader::listener_key() {
  ListenerKey key;
  key.udp = flag();
  const bool v4 = flag();
  const auto address = IpAddress::from_bytes(raw(v4 ? 4 : 16));
  const auto port = Port::from(number<std::uint16_t>());
  if (!address || !port) {
    fail();
    return key;
  }
  key.address = *address;
  key.port = *port;
  return key;
}

GuestListener Reader::listener() {
  GuestListener listener;
  listener.key = listener_key();
  listener.pid = number<std::uint32_t>();
  listener.uid = number<std::uint32_t>();
  listener.name = printable_text(GuestListener::max_name_bytes);
  listener.command = printable_text(GuestListener::max_command_bytes);
  listener.container = printable_text(GuestListener::max_container_bytes);
  return listener;
}

bool fits(const RelayForward& forward) {
  const auto& endpoints = forward.target.endpoints;
  return fits(forward.key) && endpoints.size() <= relay_max_endpoints &&
         std::ranges::all_of(endpoints, [](const RelayEndpoint& one) { return fits(one); });
}

bool fits(const GuestListener& listener) {
  return fits_printable(listener.name, GuestListener::max_name_bytes) &&
         fits_printable(listener.command, GuestListener::max_command_bytes) &&
         fits_printable(listener.container, GuestListener::max_container_bytes);
}

}  // namespace vf::relay_codec
