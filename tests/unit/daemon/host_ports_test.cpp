// SPDX-License-Identifier: LGPL-2.1-or-later
//
// Real sockets on loopback: what the kernel calls busy.

#include "daemon/host_ports.h"

#include <gtest/gtest.h>

#include "base/listening_socket.h"

namespace vf {
namespace {

HostClaim loopback() {
  HostClaim claim;
  claim.addresses = {IpAddress::loopback4(), IpAddress::loopback6()};
  return claim;
}

HostClaim only(const char* address) {
  HostClaim claim;
  claim.addresses = {*IpAddress::parse(address)};
  claim.default_addresses = false;
  return claim;
}

HostClaim udp(HostClaim claim) {
  claim.protocol = Protocol::udp;
  return claim;
}

int option(const Fd& fd, int level, int name) {
  int value = -1;
  socklen_t length = sizeof value;
  EXPECT_EQ(getsockopt(fd.get(), level, name, &value, &length), 0);
  return value;
}

TEST(HostPorts, AnyIsTheSameFreePortAtBothLoopbacks) {
  const auto bound = HostPorts().bind(loopback(), std::nullopt);
  ASSERT_TRUE(bound) << bound.error().message;
  ASSERT_EQ(bound->listeners.size(), bound->addresses.size());
  for (std::size_t index = 0; index < bound->listeners.size(); ++index) {
    SocketAddress local;
    local.length = sizeof local.storage;
    ASSERT_EQ(getsockname(bound->listeners[index].get(), local.get(), &local.length), 0);
    EXPECT_EQ(local.endpoint()->port, bound->port);
    EXPECT_EQ(local.endpoint()->address, bound->addresses[index]);
    EXPECT_TRUE(local.endpoint()->address.is_loopback());
  }
}

// Invariant 2: a real listening socket that nobody can share.
TEST(HostPorts, ListensAndIsNeverShared) {
  const auto bound = HostPorts().bind(loopback(), std::nullopt);
  ASSERT_TRUE(bound);
  for (const Fd& listener : bound->listeners) {
    EXPECT_EQ(option(listener, SOL_SOCKET, SO_ACCEPTCONN), 1);
    EXPECT_EQ(option(listener, SOL_SOCKET, SO_REUSEPORT), 0);
  }
  EXPECT_EQ(HostPorts().bind(loopback(), bound->port).error().code, ErrorCode::port_busy);
}

TEST(HostPorts, BusyAtOneAddressIsBusy) {
  const auto held = HostPorts().bind(only("::1"), std::nullopt);
  if (!held) FAIL() << "this test needs ::1: " << held.error().message;
  const auto result = HostPorts().bind(loopback(), held->port);
  ASSERT_FALSE(result);
  EXPECT_EQ(result.error().code, ErrorCode::port_busy);
  // Nothing of the attempt is left behind: the IPv4 half is free.
  EXPECT_TRUE(HostPorts().bind(only("127.0.0.1"), held->port));
}

TEST(HostPorts, AWildcardListenerOfAnotherProgramIsBusy) {
  const auto held = HostPorts().bind(only("0.0.0.0"), std::nullopt);
  ASSERT_TRUE(held);
  EXPECT_EQ(HostPorts().bind(loopback(), held->port).error().code, ErrorCode::port_busy);
}

TEST(HostPorts, AnotherLoopbackAddressIsNot) {
  const auto held = HostPorts().bind(only("127.0.0.2"), std::nullopt);
  ASSERT_TRUE(held);
  EXPECT_TRUE(HostPorts().bind(only("127.0.0.3"), held->port));
}

TEST(HostPorts, AUdpPortIsOfDatagramsAndNeverShared) {
  const auto bound = HostPorts().bind(udp(loopback()), std::nullopt);
  ASSERT_TRUE(bound) << bound.error().message;
  ASSERT_FALSE(bound->listeners.empty());
  for (const Fd& socket : bound->listeners) {
    EXPECT_EQ(option(socket, SOL_SOCKET, SO_TYPE), SOCK_DGRAM);
    EXPECT_EQ(option(socket, SOL_SOCKET, SO_REUSEADDR), 0);
    EXPECT_EQ(option(socket, SOL_SOCKET, SO_REUSEPORT), 0);
    EXPECT_EQ(local_endpoint(socket)->port, bound->port);
  }
  EXPECT_EQ(HostPorts().bind(udp(loopback()), bound->port).error().code, ErrorCode::port_busy);

  // Another program's wish to share does not make it so.
  const Fd other(::socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0));
  const int on = 1;
  ASSERT_EQ(setsockopt(other.get(), SOL_SOCKET, SO_REUSEADDR, &on, sizeof on), 0);
  const SocketAddress same = SocketAddress::from(IpAddress::loopback4(), bound->port);
  EXPECT_LT(::bind(other.get(), same.get(), same.length), 0);
  EXPECT_EQ(errno, EADDRINUSE);
}

TEST(HostPorts, TcpAndUdpMayHaveOneNumber) {
  const auto datagrams = HostPorts().bind(udp(only("127.0.0.2")), std::nullopt);
  ASSERT_TRUE(datagrams);
  const auto stream = HostPorts().bind(only("127.0.0.2"), datagrams->port);
  ASSERT_TRUE(stream) << stream.error().message;
  EXPECT_EQ(stream->port, datagrams->port);
}

TEST(HostPorts, AnAddressThatIsNotTheHostsIsNamed) {
  const auto result = HostPorts().bind(only("192.0.2.1"), *Port::from(8080));
  ASSERT_FALSE(result);
  EXPECT_EQ(result.error().code, ErrorCode::failed);
  EXPECT_NE(result.error().message.find("192.0.2.1"), std::string::npos);
}

TEST(HostPorts, ClosingFreesThePort) {
  auto bound = HostPorts().bind(loopback(), std::nullopt);
  ASSERT_TRUE(bound);
  const Port port = *bound->port;
  bound->listeners.clear();
  EXPECT_TRUE(HostPorts().bind(loopback(), port));
}

}  // namespace
}  // namespace vf
