// SPDX-License-Identifier: LGPL-2.1-or-later

#include "transport/transport.h"

#include <gtest/gtest.h>

namespace vf {
namespace {

ForwardDefinition forward_to(unsigned port) {
  ForwardDefinition forward;
  forward.guest = PortRange(*Port::from(port));
  return forward;
}

GuestReach guest(std::vector<const char*> addresses) {
  GuestReach reach;
  reach.bridged = true;
  for (const char* address : addresses)
    reach.addresses.push_back(*IpAddress::parse(address));
  return reach;
}

TEST(TcpTransport, EveryProvenAddressInOrder) {
  const auto route = TcpTransport().route(guest({"192.0.2.7", "2001:db8::7"}), forward_to(80));
  ASSERT_TRUE(route);
  ASSERT_EQ(route->endpoints.size(), 2u);
  EXPECT_EQ(text(route->endpoints[0]), "192.0.2.7:80");
  EXPECT_EQ(text(route->endpoints[1]), "[2001:db8::7]:80");
}

TEST(TcpTransport, AGuestAddressMustBeProven) {
  ForwardDefinition forward = forward_to(80);
  forward.guest_address = IpAddress::parse("192.0.2.8");
  EXPECT_FALSE(TcpTransport().route(guest({"192.0.2.7"}), forward));
  const auto route = TcpTransport().route(guest({"192.0.2.7", "192.0.2.8"}), forward);
  ASSERT_TRUE(route);
  ASSERT_EQ(route->endpoints.size(), 1u);
  EXPECT_EQ(text(route->endpoints[0]), "192.0.2.8:80");
}

// A definition cannot aim the relay at the host's own loopback.
TEST(TcpTransport, TheHostsLoopbackIsNoGuestAddress) {
  ForwardDefinition forward = forward_to(22);
  forward.guest_address = IpAddress::loopback4();
  EXPECT_FALSE(TcpTransport().route(guest({"192.0.2.7"}), forward));
}

TEST(TcpTransport, SaysWhatIsMissing) {
  const auto unseen = TcpTransport().route(guest({}), forward_to(80));
  EXPECT_NE(unseen.error().message.find("no address"), std::string::npos);
  const auto unbridged = TcpTransport().route(GuestReach{}, forward_to(80));
  EXPECT_NE(unbridged.error().message.find("bridge"), std::string::npos);
}

TEST(ChooseRoute, APinnedTransportThatIsMissingIsNamed) {
  std::vector<std::unique_ptr<TransportWay>> ways;
  ways.push_back(std::make_unique<TcpTransport>());
  ForwardDefinition forward = forward_to(80);
  forward.transport = Transport::vsock;
  const auto route = choose_route(ways, guest({"192.0.2.7"}), forward);
  ASSERT_FALSE(route);
  EXPECT_NE(route.error().message.find("vsock"), std::string::npos);
  forward.transport = Transport::automatic;
  EXPECT_EQ(choose_route(ways, guest({"192.0.2.7"}), forward)->transport, Transport::tcp);
}

}  // namespace
}  // namespace vf
