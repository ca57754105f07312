// SPDX-License-Identifier: LGPL-2.1-or-later

#include "core/desired.h"

#include <gtest/gtest.h>

#include "core/definition_xml.h"

namespace vf {
namespace {

using Attributes = std::vector<std::pair<std::string, std::string>>;

std::vector<SingleForward> expand_one(const Attributes& attributes, const Policy& policy = {}) {
  const auto definition = parse_forward(attributes);
  EXPECT_TRUE(definition) << (definition ? "" : definition.error().message);
  return expand({*definition}, policy);
}

TEST(Expand, ASinglePortIsItself) {
  const auto forwards = expand_one({{"guest-port", "80"}, {"host-port", "8080"}});
  ASSERT_EQ(forwards.size(), 1u);
  EXPECT_EQ(forwards[0].id, "tcp:8080:80");
  EXPECT_EQ(forwards[0].claim.port->number(), 8080);
  EXPECT_TRUE(forwards[0].claim.default_addresses);
  EXPECT_EQ(forwards[0].claim.addresses.size(), 2u);
  EXPECT_FALSE(forwards[0].refused);
}

TEST(Expand, ARangeMapsByOffset) {
  const auto forwards =
      expand_one({{"name", "r"}, {"guest-port", "8000-8002"}, {"host-port", "18000-18002"}});
  ASSERT_EQ(forwards.size(), 3u);
  EXPECT_EQ(forwards[2].id, "r#8002");
  EXPECT_EQ(forwards[2].claim.port->number(), 18002);
  EXPECT_EQ(forwards[2].guest_port()->number(), 8002);
  EXPECT_EQ(forwards[2].definition, "r");
}

TEST(Expand, TheWholeRangeOfPortsFits) {
  Policy policy;
  policy.forwards_per_domain = 65535;
  const auto forwards = expand_one({{"guest-port", "1-65535"}, {"host-port", "1-65535"}}, policy);
  ASSERT_EQ(forwards.size(), 65535u);
  EXPECT_EQ(forwards.back().claim.port->number(), 65535);
}

TEST(Expand, PastTheLimitOneIsDeniedAndTheRestIsNot) {
  Policy policy;
  policy.forwards_per_domain = 2;
  const auto forwards = expand_one({{"guest-port", "1-9"}, {"host-port", "1001-1009"}}, policy);
  ASSERT_EQ(forwards.size(), 3u);
  EXPECT_FALSE(forwards[1].refused);
  EXPECT_EQ(forwards[2].refused, ForwardState::denied);
  EXPECT_NE(forwards[2].reason.find("forwards-per-domain"), std::string::npos);
}

TEST(Expand, OnlyLoopbackUnlessThePolicyNamesTheAddress) {
  const Attributes attributes{{"guest-port", "80"}, {"host-address", "0.0.0.0"}};
  EXPECT_EQ(expand_one(attributes)[0].refused, ForwardState::denied);
  Policy open;
  open.host_addresses = {*IpAddress::parse("0.0.0.0")};
  EXPECT_FALSE(expand_one(attributes, open)[0].refused);
  EXPECT_FALSE(expand_one({{"guest-port", "80"}, {"host-address", "127.0.0.2"}})[0].refused);
}

TEST(Expand, AForbiddenPortIsDeniedByName) {
  Policy policy;
  policy.host_ports = {*PortRange::from(*Port::from(8000), *Port::from(8999))};
  const auto forwards = expand_one({{"guest-port", "80"}, {"host-port", "80"}}, policy);
  EXPECT_EQ(forwards[0].refused, ForwardState::denied);
  EXPECT_NE(forwards[0].reason.find("host port 80"), std::string::npos);
}

TEST(Expand, DisabledIsNeitherDeniedNorFailed) {
  const auto forwards = expand_one({{"guest-port", "53"}, {"protocol", "udp"}, {"enabled", "no"}});
  EXPECT_EQ(forwards[0].refused, ForwardState::disabled);
}

TEST(Expand, WhatTheRelayDoesWithConnectionsIsServed) {
  EXPECT_FALSE(expand_one({{"guest-port", "80"}, {"proxy-protocol", "v2"}})[0].refused);
  EXPECT_FALSE(expand_one({{"guest-port", "80"}, {"idle-timeout", "60"}})[0].refused);
}

TEST(Expand, UdpIsServedAndClaimsAUdpPort) {
  const auto forwards =
      expand_one({{"guest-port", "53"}, {"host-port", "5353"}, {"protocol", "udp"}});
  EXPECT_FALSE(forwards[0].refused) << forwards[0].reason;
  EXPECT_EQ(forwards[0].claim.protocol, Protocol::udp);
  EXPECT_EQ(expand_one({{"guest-port", "53"}})[0].claim.protocol, Protocol::tcp);
}

TEST(Expand, WhatTakesAStreamIsNoneOfUdp) {
  const std::vector<Attributes> unfit{
      {{"protocol", "udp"}, {"guest-port", "53"}, {"proxy-protocol", "v2"}},
      {{"protocol", "udp"}, {"guest-socket", "/run/x.sock"}},
      {{"protocol", "udp"}, {"guest-port", "53"}, {"host-socket", "dns.sock"}},
      {{"protocol", "udp"}, {"guest-port", "53"}, {"transport", "ssh"}},
      {{"protocol", "udp"}, {"guest-port", "53"}, {"offload", "redirect"}},
  };
  for (const Attributes& attributes : unfit) {
    const SingleForward forward = expand_one(attributes)[0];
    EXPECT_EQ(forward.refused, ForwardState::failed) << attributes.back().first;
    EXPECT_NE(forward.reason.find(attributes.back().first), std::string::npos) << forward.reason;
    EXPECT_NE(forward.reason.find("udp"), std::string::npos) << forward.reason;
  }
}

TEST(Expand, EveryWayAndOffloadIsServed) {
  for (const char* transport : {"tcp", "vsock", "ssh", "usernet"})
    EXPECT_FALSE(expand_one({{"guest-port", "80"}, {"transport", transport}})[0].refused);
  for (const char* offload : {"none", "redirect", "nftables"})
    EXPECT_FALSE(expand_one({{"guest-port", "80"}, {"offload", offload}})[0].refused);
}

TEST(Expand, AnOffloadIsOneThatTheHostAllows) {
  Policy policy;
  policy.offloads = {Offload::redirect};
  EXPECT_FALSE(expand_one({{"guest-port", "80"}, {"offload", "none"}}, policy)[0].refused);
  EXPECT_FALSE(expand_one({{"guest-port", "80"}}, policy)[0].refused);
  const auto refused = expand_one({{"guest-port", "80"}, {"offload", "nftables"}}, policy)[0];
  EXPECT_EQ(refused.refused, ForwardState::denied);
  EXPECT_NE(refused.reason.find("[host] offloads"), std::string::npos) << refused.reason;
}

TEST(Expand, AHostSocketLiesInTheHostsDirectory) {
  const Attributes socket{{"guest-port", "80"}, {"host-socket", "web/a.sock"}};
  const SingleForward refused = expand_one(socket)[0];
  EXPECT_EQ(refused.refused, ForwardState::denied);
  EXPECT_NE(refused.reason.find("socket-directories"), std::string::npos) << refused.reason;
  Policy policy;
  policy.socket_directories = {"/run/sockets", "/srv"};
  const SingleForward served = expand({*parse_forward(socket)}, policy)[0];
  EXPECT_FALSE(served.refused);
  EXPECT_EQ(served.claim.socket, "/run/sockets/web/a.sock");
  EXPECT_TRUE(served.claim.addresses.empty());
}

TEST(Expand, TheWayToTheGuestIsOneThatTheHostAllows) {
  EXPECT_FALSE(expand_one({{"guest-port", "80"}, {"transport", "vsock"}})[0].refused);
  Policy policy;
  policy.transports = {Transport::tcp};
  EXPECT_FALSE(expand_one({{"guest-port", "80"}}, policy)[0].refused);
  const auto refused = expand_one({{"guest-port", "80"}, {"transport", "vsock"}}, policy)[0];
  EXPECT_EQ(refused.refused, ForwardState::denied);
  EXPECT_NE(refused.reason.find("[host] transports"), std::string::npos) << refused.reason;
}

}  // namespace
}  // namespace vf
