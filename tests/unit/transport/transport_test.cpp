// SPDX-License-Identifier: LGPL-2.1-or-later

#include "transport/transport.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace vf {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

std::vector<std::string> texts(const Route& route) {
  std::vector<std::string> list;
  for (const Hop& hop : route)
    list.push_back(text(hop.endpoint));
  return list;
}

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
  EXPECT_THAT(texts(*route), ElementsAre("192.0.2.7:80", "[2001:db8::7]:80"));
}

TEST(TcpTransport, AGuestAddressMustBeProven) {
  ForwardDefinition forward = forward_to(80);
  forward.guest_address = IpAddress::parse("192.0.2.8");
  EXPECT_FALSE(TcpTransport().route(guest({"192.0.2.7"}), forward));
  const auto route = TcpTransport().route(guest({"192.0.2.7", "192.0.2.8"}), forward);
  ASSERT_TRUE(route);
  EXPECT_THAT(texts(*route), ElementsAre("192.0.2.8:80"));
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

// --- by the agent

DetectedPort listens(std::vector<const char*> addresses, unsigned port = 80) {
  DetectedPort detected;
  detected.port = *Port::from(port);
  for (const char* address : addresses)
    detected.addresses.push_back(*IpAddress::parse(address));
  return detected;
}

GuestReach with_agent(GuestReach reach) {
  reach.agent = AgentState::present;
  return reach;
}

TEST(VsockTransport, ReachesLocalhostAndSockets) {
  const GuestReach reach = with_agent({});
  EXPECT_THAT(texts(*VsockTransport().route(reach, forward_to(80))),
              ElementsAre("localhost:80 in the guest"));
  ForwardDefinition socket;
  socket.guest = SocketPath{"/run/db.sock"};
  EXPECT_THAT(texts(*VsockTransport().route(reach, socket)),
              ElementsAre("/run/db.sock in the guest"));
}

TEST(VsockTransport, GoesToTheOneAddressThatListens) {
  GuestReach reach = with_agent({});
  std::vector<DetectedPort> ports{listens({"127.0.0.53"})};
  reach.ports = &ports;
  EXPECT_THAT(texts(*VsockTransport().route(reach, forward_to(80))),
              ElementsAre("127.0.0.53:80 in the guest"));
  ports.push_back(listens({"0.0.0.0", "::"}));
  EXPECT_THAT(texts(*VsockTransport().route(reach, forward_to(80))),
              ElementsAre("localhost:80 in the guest"));
}

TEST(VsockTransport, SaysWhatIsMissing) {
  ForwardDefinition pinned = forward_to(80);
  pinned.transport = Transport::vsock;
  EXPECT_THAT(VsockTransport().route(GuestReach{}, pinned).error().message,
              HasSubstr("<vsock model='virtio'>"));
  GuestReach reach;
  reach.agent = AgentState::absent;
  reach.agent_reason = "it is asleep";
  const auto absent = VsockTransport().route(reach, forward_to(80));
  EXPECT_THAT(absent.error().message, HasSubstr("virt-forward-guest"));
  EXPECT_THAT(absent.error().message, HasSubstr("it is asleep"));
}

TEST(TcpTransport, WhatListensOnLoopbackOnlyIsOutOfReach) {
  GuestReach reach = guest({"192.0.2.7", "192.0.2.8"});
  std::vector<DetectedPort> ports{listens({"127.0.0.1", "::1"})};
  reach.ports = &ports;
  EXPECT_THAT(TcpTransport().route(reach, forward_to(80)).error().message, HasSubstr("loopback"));
  ports.push_back(listens({"192.0.2.8"}));
  EXPECT_THAT(texts(*TcpTransport().route(reach, forward_to(80))), ElementsAre("192.0.2.8:80"));
  ports.push_back(listens({"0.0.0.0"}));
  EXPECT_THAT(texts(*TcpTransport().route(reach, forward_to(80))),
              ElementsAre("192.0.2.7:80", "192.0.2.8:80"));
  ports = {listens({"192.0.2.9"})};
  EXPECT_FALSE(TcpTransport().route(reach, forward_to(80)));
}

// --- the choice

std::vector<std::unique_ptr<TransportWay>> all_ways() {
  std::vector<std::unique_ptr<TransportWay>> ways;
  ways.push_back(std::make_unique<TcpTransport>());
  ways.push_back(std::make_unique<VsockTransport>());
  return ways;
}

TEST(ChooseRoute, OneWayBehindTheOther) {
  const auto route = choose_route(all_ways(), with_agent(guest({"192.0.2.7"})), forward_to(80));
  EXPECT_THAT(texts(*route), ElementsAre("192.0.2.7:80", "localhost:80 in the guest"));
  EXPECT_EQ(route->front().transport, Transport::tcp);
  EXPECT_EQ(route->back().transport, Transport::vsock);
}

TEST(ChooseRoute, LoopbackOnlyGoesByVsockOnly) {
  GuestReach reach = with_agent(guest({"192.0.2.7"}));
  const std::vector<DetectedPort> ports{listens({"127.0.0.1"})};
  reach.ports = &ports;
  EXPECT_THAT(texts(*choose_route(all_ways(), reach, forward_to(80))),
              ElementsAre("localhost:80 in the guest"));
}

TEST(ChooseRoute, APinnedTransportIsTheOnlyOne) {
  ForwardDefinition forward = forward_to(80);
  forward.transport = Transport::vsock;
  EXPECT_THAT(texts(*choose_route(all_ways(), with_agent(guest({"192.0.2.7"})), forward)),
              ElementsAre("localhost:80 in the guest"));
  const auto missing = choose_route(all_ways(), guest({"192.0.2.7"}), forward);
  ASSERT_FALSE(missing);
  EXPECT_THAT(missing.error().message, HasSubstr("<vsock"));
  forward.transport = Transport::ssh;
  EXPECT_THAT(choose_route(all_ways(), guest({"192.0.2.7"}), forward).error().message,
              HasSubstr("\"ssh\" is not supported"));
}

TEST(ChooseRoute, WithoutAnyWayEachSaysWhatItLacks) {
  const auto none = choose_route(all_ways(), guest({}), forward_to(80));
  EXPECT_THAT(none.error().message, HasSubstr("no address"));
  EXPECT_THAT(none.error().message, HasSubstr("no <vsock> device"));
}

}  // namespace
}  // namespace vf
