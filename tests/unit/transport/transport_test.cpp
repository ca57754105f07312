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
  EXPECT_EQ(TcpTransport().route(guest({"192.0.2.7", "192.0.2.9"}), forward).error().message,
            "192.0.2.8 is not (yet) proven to be an address of the guest, which has 192.0.2.7 and "
            "192.0.2.9");
  EXPECT_THAT(TcpTransport().route(guest({}), forward).error().message,
              testing::EndsWith("address of the guest"));
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

// --- by tunnels

TEST(SshTransport, BeginsWhereItsTunnelDoes) {
  GuestReach reach;
  const auto given = SshTransport().route(reach, forward_to(80));
  EXPECT_EQ(given.error().code, ErrorCode::not_supported);
  EXPECT_THAT(given.error().message, HasSubstr("<ssh>"));
  reach.ssh.given = true;
  EXPECT_THAT(SshTransport().route(reach, forward_to(80)).error().message,
              HasSubstr("being set up"));
  TunnelEnds ends;
  reach.ssh.ends = &ends;
  TunnelTarget target;
  target.port = Port::from(80);
  ends.emplace(target, Unexpected(ErrorCode::failed, "Permission denied (publickey)."));
  EXPECT_THAT(SshTransport().route(reach, forward_to(80)).error().message,
              HasSubstr("Permission denied"));
  ends.at(target) = RelayEndpoint(UnixEndpoint{"/run/x/80"});
  EXPECT_THAT(texts(*SshTransport().route(reach, forward_to(80))), ElementsAre("unix:/run/x/80"));
  reach.ssh.missing =
      Error{ErrorCode::invalid_argument, "the key \"lab\" is not in the host policy"};
  EXPECT_THAT(SshTransport().route(reach, forward_to(80)).error().message, HasSubstr("lab"));
  EXPECT_EQ(SshTransport().route(reach, forward_to(80)).error().code, ErrorCode::invalid_argument);
}

TEST(SshTransport, ReachesSocketsAndOwnAddressesButNoDatagrams) {
  GuestReach reach;
  reach.ssh.given = true;
  ForwardDefinition forward;
  forward.guest = SocketPath{"/run/db.sock"};
  EXPECT_EQ(SshTransport().target(reach, forward)->path, "/run/db.sock");
  const std::vector<DetectedPort> ports{listens({"192.0.2.9"})};
  reach.ports = &ports;
  EXPECT_EQ(SshTransport().target(reach, forward_to(80))->address->text(), "192.0.2.9");
  EXPECT_FALSE(SshTransport().target(reach, forward_to(81))->address);
  forward = forward_to(53);
  forward.protocol = Protocol::udp;
  EXPECT_THAT(SshTransport().target(reach, forward).error().message, HasSubstr("udp"));
}

TEST(UsernetTransport, NeedsAUserNetworkAndAReachableListener) {
  GuestReach reach;
  EXPECT_EQ(UsernetTransport().target(reach, forward_to(80)).error().code,
            ErrorCode::not_supported);
  reach.usernet.given = true;
  ForwardDefinition forward = forward_to(53);
  forward.protocol = Protocol::udp;
  EXPECT_EQ(UsernetTransport().target(reach, forward)->protocol, Protocol::udp);
  const std::vector<DetectedPort> ports{listens({"127.0.0.1"})};
  reach.ports = &ports;
  EXPECT_THAT(UsernetTransport().target(reach, forward_to(80)).error().message,
              HasSubstr("loopback"));
  forward.guest = SocketPath{"/run/db.sock"};
  EXPECT_FALSE(UsernetTransport().target(reach, forward));
}

TEST(TcpTransport, MacvtapIsNamed) {
  GuestReach reach;
  reach.macvtap = true;
  EXPECT_THAT(TcpTransport().route(reach, forward_to(80)).error().message, HasSubstr("macvtap"));
}

// --- the choice

RouteChoice choose(const GuestReach& reach, const ForwardDefinition& forward,
                   const Policy& policy = {}) {
  std::vector<std::unique_ptr<TransportWay>> ways;
  ways.push_back(std::make_unique<TcpTransport>());
  ways.push_back(std::make_unique<VsockTransport>());
  ways.push_back(std::make_unique<SshTransport>());
  ways.push_back(std::make_unique<UsernetTransport>());
  return choose_route(ways, policy, reach, forward);
}

TEST(ChooseRoute, OneWayBehindTheOther) {
  const auto choice = choose(with_agent(guest({"192.0.2.7"})), forward_to(80));
  EXPECT_THAT(texts(choice.route), ElementsAre("192.0.2.7:80", "localhost:80 in the guest"));
  EXPECT_EQ(choice.route.front().transport, Transport::tcp);
  EXPECT_EQ(choice.route.back().transport, Transport::vsock);
  ASSERT_EQ(choice.rejected.size(), 2u);
  EXPECT_EQ(choice.rejected[0].way, Transport::ssh);
  EXPECT_THAT(choice.rejected[1].reason.message, HasSubstr("type 'user'"));
}

TEST(ChooseRoute, LoopbackOnlyGoesByVsockOnly) {
  GuestReach reach = with_agent(guest({"192.0.2.7"}));
  const std::vector<DetectedPort> ports{listens({"127.0.0.1"})};
  reach.ports = &ports;
  EXPECT_THAT(texts(choose(reach, forward_to(80)).route), ElementsAre("localhost:80 in the guest"));
}

TEST(ChooseRoute, APinnedTransportIsTheOnlyOne) {
  ForwardDefinition forward = forward_to(80);
  forward.transport = Transport::vsock;
  EXPECT_THAT(texts(choose(with_agent(guest({"192.0.2.7"})), forward).route),
              ElementsAre("localhost:80 in the guest"));
  const auto missing = choose(guest({"192.0.2.7"}), forward);
  EXPECT_TRUE(missing.route.empty());
  EXPECT_THAT(missing.missing(), HasSubstr("<vsock"));
  ASSERT_EQ(missing.rejected.size(), 1u);
}

TEST(ChooseRoute, WhatTheHostForbidsIsNoWay) {
  Policy policy;
  policy.transports = {Transport::vsock};
  const auto choice = choose(with_agent(guest({"192.0.2.7"})), forward_to(80), policy);
  EXPECT_THAT(texts(choice.route), ElementsAre("localhost:80 in the guest"));
  EXPECT_THAT(choice.rejected.front().reason.message, HasSubstr("[host] transports"));
}

TEST(ChooseRoute, WhatTheDomainHasNothingOfIsNoNews) {
  const auto unseen = choose(guest({}), forward_to(80));
  EXPECT_EQ(unseen.missing(), "no address of the guest has been seen yet");
  const auto nothing = choose(GuestReach{}, forward_to(80));
  EXPECT_THAT(nothing.missing(), HasSubstr("bridge"));
  EXPECT_THAT(nothing.missing(), HasSubstr("no <vsock> device"));
}

}  // namespace
}  // namespace vf
