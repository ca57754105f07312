// SPDX-License-Identifier: LGPL-2.1-or-later
//
// A daemon that comes anew adopts real listeners that the relay holds.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "daemon/host_ports.h"
#include "reconciler_lab.h"

namespace vf {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;

class Adoption : public ReconcilerTest {
 protected:
  HeldForward hold(const std::string& key, Protocol protocol = Protocol::tcp) {
    HostClaim claim;
    claim.protocol = protocol;
    claim.addresses = {IpAddress::loopback4(), IpAddress::loopback6()};
    auto bound = HostPorts().bind(claim, {});
    EXPECT_TRUE(bound);
    port_ = bound->port;
    RelayForward forward;
    forward.key = key;
    forward.max_connections = Policy{}.connections_per_forward;
    forward.max_domain_connections = Policy{}.connections_per_domain;
    forward.protocol = protocol == Protocol::udp ? RelayProtocol::datagram : RelayProtocol::stream;
    relay.forwards[key] = forward;
    return {forward, std::move(bound->listeners)};
  }
  std::vector<HeldForward> one(HeldForward held) {
    std::vector<HeldForward> result;
    result.push_back(std::move(held));
    return result;
  }

  std::optional<Port> port_;
};

TEST_F(Adoption, WhatIsWantedGoesOnUntouched) {
  reconciler.relay_ready(one(hold("web-uuid/tcp:any:80")));
  reconciler.resynced({running("web", R"(<forward guest-port="80"/>)")});
  EXPECT_THAT(relay.take(), IsEmpty());
  EXPECT_EQ(view("web-uuid", "tcp:any:80").host_port, port_);
}

// A new daemon hears from the relay what was proven for the one before.
TEST_F(Adoption, WhatWasProvenIsSo) {
  HeldForward held = hold("web-uuid/tcp:any:80");
  held.forward.target.endpoints = {Endpoint{*IpAddress::parse("192.0.2.7"), *Port::from(80)}};
  held.proven = 0;
  reconciler.relay_ready(one(std::move(held)));
  reconciler.resynced({running("web", R"(<forward guest-port="80"/>)")});
  reconciler.addresses_changed("web-uuid", {*IpAddress::parse("192.0.2.7")});
  EXPECT_TRUE(view("web-uuid", "tcp:any:80").proven);
}

TEST_F(Adoption, DatagramsGoOnUntouchedToo) {
  reconciler.relay_ready(one(hold("web-uuid/n", Protocol::udp)));
  reconciler.resynced({running("web", R"(<forward name="n" guest-port="53" protocol="udp"/>)")});
  EXPECT_THAT(relay.take(), IsEmpty());
  EXPECT_EQ(view("web-uuid", "n").host_port, port_);
  // A change of its way is one of a UDP forward.
  reconciler.addresses_changed("web-uuid", {*IpAddress::parse("192.0.2.7")});
  EXPECT_THAT(relay.take(), ElementsAre("~web-uuid/n"));
  EXPECT_EQ(relay.forwards["web-uuid/n"].protocol, RelayProtocol::datagram);
}

TEST_F(Adoption, AForwardThatWantsTheOtherProtocolNowIsBoundAnew) {
  reconciler.relay_ready(one(hold("web-uuid/n")));
  reconciler.resynced({running("web", R"(<forward name="n" guest-port="53" protocol="udp"/>)")});
  EXPECT_THAT(relay.take(), ElementsAre("-web-uuid/n", "+web-uuid/n"));
  EXPECT_EQ(relay.forwards["web-uuid/n"].protocol, RelayProtocol::datagram);
}

TEST_F(Adoption, WhenLibvirtAnswersFirst) {
  auto held = one(hold("web-uuid/tcp:any:80"));
  relay.is_ready = false;
  reconciler.resynced({running("web", R"(<forward guest-port="80"/>)")});
  EXPECT_EQ(view("web-uuid", "tcp:any:80").host_port, std::nullopt);
  relay.is_ready = true;
  reconciler.relay_ready(std::move(held));
  EXPECT_THAT(relay.take(), IsEmpty());
  EXPECT_EQ(view("web-uuid", "tcp:any:80").host_port, port_);
}

TEST_F(Adoption, ADomainThatStoppedMeanwhileIsCleanedUp) {
  reconciler.relay_ready(one(hold("web-uuid/tcp:any:80")));
  reconciler.resynced({stopped(running("web", R"(<forward guest-port="80"/>)"))});
  EXPECT_THAT(relay.take(), ElementsAre("-web-uuid/tcp:any:80"));
}

TEST_F(Adoption, AForwardThatWantsAnotherPortNowIsBoundAnew) {
  reconciler.relay_ready(one(hold("web-uuid/n")));
  reconciler.resynced({running("web", R"(<forward name="n" guest-port="80" host-port="8080"/>)")});
  EXPECT_THAT(relay.take(), ElementsAre("-web-uuid/n", "+web-uuid/n"));
  EXPECT_EQ(view("web-uuid", "n").host_port->number(), 8080);
}

TEST_F(Adoption, WhatIsNotWantedGoesBeforeAnythingIsBound) {
  relay.slow = true;
  reconciler.relay_ready(one(hold("web-uuid/old")));
  reconciler.resynced(
      {running("web", R"(<forward name="new" guest-port="80" host-port="8080"/>)")});
  EXPECT_FALSE(ports.is_bound(8080));
  relay.apply();
  EXPECT_THAT(relay.take(), ElementsAre("-web-uuid/old", "+web-uuid/new"));
}

TEST_F(Adoption, TheWayToTheGuestIsKeptUntilItsAddressesAreKnown) {
  const Endpoint guest{*IpAddress::parse("192.168.122.7"), *Port::from(80)};
  auto held = one(hold("web-uuid/n"));
  held.front().forward.target.endpoints = {guest};
  hints.remember("web-uuid/n", {1, std::nullopt, *port_});
  reconciler.relay_ready(std::move(held));
  reconciler.resynced({running("web", R"(<forward name="n" guest-port="80"/>)")});
  EXPECT_THAT(relay.take(), IsEmpty());
  EXPECT_EQ(view("web-uuid", "n").state, ForwardState::active);
  reconciler.addresses_changed("web-uuid", {*IpAddress::parse("192.168.122.8")});
  EXPECT_THAT(relay.take(), ElementsAre("~web-uuid/n"));
}

TEST_F(Adoption, WhatTheRelayDoesWithConnectionsIsKept) {
  constexpr auto definition =
      R"(<forward name="n" guest-port="80" proxy-protocol="v2" idle-timeout="60"/>)";
  auto held = one(hold("web-uuid/n"));
  held.front().forward.proxy_protocol = true;
  held.front().forward.idle_timeout = 60;
  hints.remember("web-uuid/n", {1, std::nullopt, *port_});
  reconciler.relay_ready(std::move(held));
  reconciler.resynced({running("web", definition)});
  EXPECT_THAT(relay.take(), IsEmpty());
  reconciler.domain_changed(running("web", R"(<forward name="n" guest-port="80"/>)"));
  EXPECT_THAT(relay.take(), ElementsAre("~web-uuid/n"));
  EXPECT_FALSE(relay.forwards["web-uuid/n"].proxy_protocol);
  reconciler.domain_changed(running("web", definition));
  EXPECT_THAT(relay.take(), ElementsAre("~web-uuid/n"));
  EXPECT_TRUE(relay.forwards["web-uuid/n"].proxy_protocol);
  EXPECT_EQ(relay.forwards["web-uuid/n"].idle_timeout, 60u);
}

TEST_F(Adoption, TheWayOfAnEarlierRunIsNotKept) {
  const Endpoint guest{*IpAddress::parse("192.168.122.7"), *Port::from(80)};
  auto held = one(hold("web-uuid/n"));
  held.front().forward.target.endpoints = {guest};
  hints.remember("web-uuid/n", {1, std::nullopt, *port_});
  reconciler.relay_ready(std::move(held));
  reconciler.resynced({running("web", R"(<forward name="n" guest-port="80"/>)", 2)});
  EXPECT_EQ(view("web-uuid", "n").state, ForwardState::waiting);
}

TEST_F(Adoption, AMovedForwardKeepsItsPlaceByTheHint) {
  auto held = one(hold("web-uuid/n"));
  hints.remember("web-uuid/n", {1, Port::from(8080), *port_});
  reconciler.relay_ready(std::move(held));
  reconciler.resynced({running("web", R"(<forward name="n" guest-port="80" host-port="8080"/>)")});
  EXPECT_THAT(relay.take(), IsEmpty());
  EXPECT_EQ(view("web-uuid", "n").host_port, port_);
}

}  // namespace
}  // namespace vf
