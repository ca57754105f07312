// SPDX-License-Identifier: LGPL-2.1-or-later

#include "relay/proxy_header.h"

#include <gtest/gtest.h>
#include <sys/un.h>

#include <string>

#include "base/listening_socket.h"
#include "base/relay_endpoint.h"
#include "loopback.h"

namespace vf {
namespace {

using namespace test;
using Bytes = std::vector<std::uint8_t>;

const Bytes signature{0x0d, 0x0a, 0x0d, 0x0a, 0x00, 0x0d, 0x0a, 0x51, 0x55, 0x49, 0x54, 0x0a};

Bytes after_signature(const Bytes& header) {
  EXPECT_GE(header.size(), 16u);
  EXPECT_TRUE(std::equal(signature.begin(), signature.end(), header.begin()));
  return Bytes(header.begin() + 12, header.end());
}

void append(Bytes& to, Port port) {
  to.push_back(static_cast<std::uint8_t>(port.number() >> 8));
  to.push_back(static_cast<std::uint8_t>(port.number() & 0xff));
}

TEST(ProxyHeader, NamesBothEndsOfAnIPv4Connection) {
  const Fd listening = listening_socket();
  const Fd client = connected_socket(local_endpoint(listening.get()));
  const Fd accepted = accepted_socket(listening);
  Bytes expected{0x21, 0x11, 0, 12, 127, 0, 0, 1, 127, 0, 0, 1};
  append(expected, local_endpoint(client.get()).port);
  append(expected, local_endpoint(listening.get()).port);
  EXPECT_EQ(after_signature(proxy_header(accepted.get())), expected);
}

TEST(ProxyHeader, NamesBothEndsOfAnIPv6Connection) {
  const Fd listening = std::get<Fd>(listen_tcp(IpAddress::loopback6(), std::nullopt));
  const auto address = socket_address(*vf::local_endpoint(listening));
  const Fd client(socket(AF_INET6, SOCK_STREAM | SOCK_CLOEXEC, 0));
  ASSERT_EQ(connect(client.get(), address->get(), address->length), 0);
  const Fd accepted = accepted_socket(listening);
  Bytes expected{0x21, 0x21, 0, 36};
  for (int end = 0; end < 2; ++end) {
    expected.insert(expected.end(), 15, 0);
    expected.push_back(1);
  }
  append(expected, local_endpoint(client.get()).port);
  append(expected, local_endpoint(listening.get()).port);
  EXPECT_EQ(after_signature(proxy_header(accepted.get())), expected);
}

// A socket of both families shows an IPv4 client as ::ffff:127.0.0.1.
TEST(ProxyHeader, AMappedAddressIsAnIPv4One) {
  const Fd listening(socket(AF_INET6, SOCK_STREAM | SOCK_CLOEXEC, 0));
  const auto any = SocketAddress::from(*IpAddress::parse("::"), std::nullopt);
  ASSERT_EQ(bind(listening.get(), any.get(), any.length), 0);
  ASSERT_EQ(listen(listening.get(), 1), 0);
  const Port port = local_endpoint(listening.get()).port;
  const Fd client = connected_socket({IpAddress::loopback4(), port});
  const Fd accepted = accepted_socket(listening);
  Bytes expected{0x21, 0x11, 0, 12, 127, 0, 0, 1, 127, 0, 0, 1};
  append(expected, local_endpoint(client.get()).port);
  append(expected, port);
  EXPECT_EQ(after_signature(proxy_header(accepted.get())), expected);
}

TEST(ProxyHeader, NamesTheSocketsOfAUnixConnection) {
  const std::string name = "@proxy-header-test-" + std::to_string(getpid());
  const auto address = socket_address(UnixEndpoint{name});
  const Fd listening(socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
  ASSERT_EQ(bind(listening.get(), address->get(), address->length), 0);
  ASSERT_EQ(listen(listening.get(), 1), 0);
  const Fd client(socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
  ASSERT_EQ(connect(client.get(), address->get(), address->length), 0);
  const Fd accepted = accepted_socket(listening);
  // The client has no name: 108 NULs, then the server's.
  Bytes expected{0x21, 0x31, 0, 216};
  expected.insert(expected.end(), 108, 0);
  expected.push_back(0);
  expected.insert(expected.end(), name.begin() + 1, name.end());
  expected.resize(4 + 216);
  EXPECT_EQ(after_signature(proxy_header(accepted.get())), expected);
}

TEST(ProxyHeader, WhatIsNotKnownIsLocal) {
  EXPECT_EQ(after_signature(proxy_header(-1)), (Bytes{0x20, 0x00, 0, 0}));
  const Fd unconnected(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  EXPECT_EQ(after_signature(proxy_header(unconnected.get())), (Bytes{0x20, 0x00, 0, 0}));
}

}  // namespace
}  // namespace vf
