// SPDX-License-Identifier: LGPL-2.1-or-later

#include "plugin/address_trust.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>

namespace vf {
namespace {

using ::testing::Contains;
using ::testing::ElementsAre;
using ::testing::IsEmpty;
using ::testing::Not;

constexpr std::uint32_t br = 1, tap_a = 2, tap_b = 3, uplink = 4, br2 = 5, tap_a2 = 6, lone_tap = 7;
const std::string mac_a = "52:54:00:00:00:0a";
const std::string mac_a2 = "52:54:00:00:02:0a";
const std::string mac_b = "52:54:00:00:00:0b";
const std::string mac_x = "52:54:00:00:00:99";  // of no domain

IpAddress ip(const char* text) {
  return *IpAddress::parse(text);
}

Place at(const char* text, std::uint32_t link = br) {
  return {link, *IpAddress::from_bytes(ip(text).bytes(), link)};
}

// Networks as tables, and what was asked for.
struct FakeNetwork final : HostNetwork {
  std::vector<HostAddress> routes;
  std::map<std::pair<std::uint32_t, std::string>, std::vector<std::uint32_t>> ports;
  std::vector<Place> probes;

  std::optional<std::uint32_t> direct_route(const IpAddress& address) override {
    for (const HostAddress& route : routes)
      if (address.in_subnet(route.network, route.length)) return route.link;
    return std::nullopt;
  }
  std::vector<std::uint32_t> ports_of(std::uint32_t bridge, const std::string& mac) override {
    return ports[{bridge, mac}];
  }
  void probe(const Place& place) override { probes.push_back(place); }
};

class AddressTrustTest : public ::testing::Test {
 protected:
  AddressTrustTest() {
    state.links = {{br, "br", 0},        {tap_a, "tapA", br}, {tap_b, "tapB", br},
                   {uplink, "eth0", br}, {br2, "br2", 0},     {tap_a2, "tapA2", br2},
                   {lone_tap, "lone", 0}};
    state.addresses = {{br, ip("10.0.0.1"), ip("10.0.0.1"), 24},
                       {br, ip("fd00::1"), ip("fd00::1"), 64},
                       {br, at("fe80::1").address, at("fe80::1").address, 64},
                       {br2, ip("10.2.0.1"), ip("10.2.0.1"), 24},
                       {lone_tap, ip("10.7.0.1"), ip("10.7.0.1"), 24}};
    network.routes = state.addresses;
    trust.reset(state);
    learn(mac_a, tap_a);
    learn(mac_b, tap_b);
    trust.domain_runs("a", 1, {{mac_a, "network", "br", "tapA"}});
    trust.domain_runs("b", 2, {{mac_b, "network", "br", "tapB"}});
    trust.decide();
    network.probes.clear();
  }

  void learn(const std::string& mac, std::uint32_t port, std::uint32_t bridge = br) {
    network.ports[{bridge, mac}] = {port};
    trust.forwarding_changed(mac);
  }
  void forget(const std::string& mac, std::uint32_t bridge = br) {
    network.ports[{bridge, mac}].clear();
    trust.forwarding_changed(mac);
  }
  void entry(const Place& place, NeighbourState state_now, const std::string& mac = "") {
    trust.neighbour_changed({place, state_now, mac});
  }
  void sees(const char* address, const std::string& mac, std::uint32_t link = br) {
    entry(at(address, link), NeighbourState::stale, mac);
  }
  void nobody_answers(const char* address) {
    entry(at(address), NeighbourState::incomplete);
    entry(at(address), NeighbourState::failed);
  }

  // Trusted addresses as text, after a decision.
  std::vector<std::string> of(const std::string& uuid) {
    for (const std::string& changed : trust.decide())
      ++reports[changed];
    std::vector<std::string> texts;
    for (const IpAddress& address : trust.addresses(uuid))
      texts.push_back(address.text());
    return texts;
  }

  NetworkState state;
  FakeNetwork network;
  AddressTrust trust{network};
  std::map<std::string, int> reports;
};

TEST_F(AddressTrustTest, APacketMakesAnAddressOfItsSender) {
  sees("10.0.0.5", mac_a);
  EXPECT_THAT(of("a"), ElementsAre("10.0.0.5"));
  EXPECT_THAT(of("b"), IsEmpty());
  EXPECT_EQ(reports, (std::map<std::string, int>{{"a", 1}}));
}

TEST_F(AddressTrustTest, AConfirmationDoesToo) {
  entry(at("10.0.0.5"), NeighbourState::reachable, mac_a);
  EXPECT_THAT(of("a"), ElementsAre("10.0.0.5"));
}

TEST_F(AddressTrustTest, GrowingOldAndBeingForgottenChangesNothing) {
  entry(at("10.0.0.5"), NeighbourState::reachable, mac_a);
  EXPECT_THAT(of("a"), ElementsAre("10.0.0.5"));
  for (const NeighbourState old :
       {NeighbourState::stale, NeighbourState::checking, NeighbourState::stale})
    entry(at("10.0.0.5"), old, mac_a);
  entry(at("10.0.0.5"), NeighbourState::gone);
  forget(mac_a);
  EXPECT_THAT(of("a"), ElementsAre("10.0.0.5"));
  EXPECT_EQ(reports["a"], 1);
}

TEST_F(AddressTrustTest, NoAnswerEndsItAndTheNextPacketBringsItBack) {
  sees("10.0.0.5", mac_a);
  EXPECT_THAT(of("a"), ElementsAre("10.0.0.5"));
  EXPECT_EQ(trust.next_attempt(), std::nullopt);
  entry(at("10.0.0.5"), NeighbourState::checking, mac_a);
  entry(at("10.0.0.5"), NeighbourState::failed);
  EXPECT_THAT(of("a"), IsEmpty());
  ASSERT_EQ(trust.next_attempt(), 0u);
  network.probes.clear();
  trust.ask_wanted(0);
  EXPECT_THAT(network.probes, ElementsAre(at("10.0.0.5")));
  sees("10.0.0.5", mac_a);
  EXPECT_THAT(of("a"), ElementsAre("10.0.0.5"));
  EXPECT_EQ(trust.next_attempt(), std::nullopt);
}

TEST_F(AddressTrustTest, AskingInVainComesToAnEnd) {
  trust.leases_are({{mac_a, ip("10.0.0.5")}, {mac_a, ip("10.0.0.6")}});
  std::optional<unsigned> last;
  while (const auto attempt = trust.next_attempt()) {
    ASSERT_TRUE(!last || *attempt > *last);
    last = attempt;
    trust.ask_wanted(*attempt);
    nobody_answers("10.0.0.5");
  }
  EXPECT_EQ(network.probes.size(), 2 * 8u);
  trust.sweep();
  EXPECT_EQ(network.probes.size(), 2 * 9u);
  EXPECT_EQ(trust.next_attempt(), std::nullopt);
  trust.forwarding_changed(mac_a);
  EXPECT_EQ(trust.next_attempt(), 0u) << "it sent something";
}

TEST_F(AddressTrustTest, ASignOfLifeOrARebootAsksForWhatFailed) {
  sees("10.0.0.5", mac_a);
  nobody_answers("10.0.0.5");
  network.probes.clear();
  trust.forwarding_changed(mac_a);
  EXPECT_THAT(network.probes, ElementsAre(at("10.0.0.5")));
  network.probes.clear();
  trust.ask_again("a");
  EXPECT_THAT(network.probes, ElementsAre(at("10.0.0.5")));
}

TEST_F(AddressTrustTest, AnEntryThatAnAdministratorRemovedIsAskedForAgain) {
  sees("10.0.0.5", mac_a);
  of("a");
  network.probes.clear();
  entry(at("10.0.0.5"), NeighbourState::failed);
  EXPECT_THAT(of("a"), ElementsAre("10.0.0.5"));
  EXPECT_THAT(network.probes, ElementsAre(at("10.0.0.5")));
  nobody_answers("10.0.0.5");
  EXPECT_THAT(of("a"), IsEmpty());
}

// ---- runs ----

TEST_F(AddressTrustTest, AnEntryFromBeforeTheRunIsAskedAboutNotBelieved) {
  trust.domain_ended("a");
  sees("10.0.0.5", mac_a);
  trust.domain_runs("a", 3, {{mac_a, "network", "br", "tapA"}});
  EXPECT_THAT(of("a"), IsEmpty());
  EXPECT_THAT(network.probes, ElementsAre(at("10.0.0.5")));
  entry(at("10.0.0.5"), NeighbourState::checking, mac_a);
  EXPECT_THAT(of("a"), IsEmpty());
  entry(at("10.0.0.5"), NeighbourState::reachable, mac_a);
  EXPECT_THAT(of("a"), ElementsAre("10.0.0.5"));
}

TEST_F(AddressTrustTest, AnEntryFromBeforeTheRunThatOnlyGrowsOldIsNoSight) {
  trust.domain_ended("a");
  entry(at("10.0.0.5"), NeighbourState::reachable, mac_a);
  trust.domain_runs("a", 3, {{mac_a, "network", "br", "tapA"}});
  network.probes.clear();
  entry(at("10.0.0.5"), NeighbourState::stale, mac_a);
  EXPECT_THAT(of("a"), IsEmpty());
  EXPECT_THAT(network.probes, ElementsAre(at("10.0.0.5")));
}

TEST_F(AddressTrustTest, ANewRunBeginsWithoutAddresses) {
  sees("10.0.0.5", mac_a);
  EXPECT_THAT(of("a"), ElementsAre("10.0.0.5"));
  trust.domain_runs("a", 7, {{mac_a, "network", "br", "tapA"}});
  EXPECT_THAT(of("a"), IsEmpty());
  EXPECT_EQ(reports["a"], 2);
}

TEST_F(AddressTrustTest, ANewRunIsAskedForTheAddressOfTheLast) {
  sees("10.0.0.5", mac_a);
  of("a");
  trust.domain_ended("a");
  entry(at("10.0.0.5"), NeighbourState::gone);
  trust.domain_runs("a", 7, {{mac_a, "network", "br", "tapA"}});
  EXPECT_THAT(network.probes, ElementsAre(at("10.0.0.5")));
  EXPECT_THAT(of("a"), IsEmpty());
  EXPECT_EQ(trust.next_attempt(), 0u);
  trust.domain_forgotten("a");
  network.probes.clear();
  trust.domain_runs("a", 8, {{mac_a, "network", "br", "tapA"}});
  EXPECT_THAT(network.probes, IsEmpty());
}

TEST_F(AddressTrustTest, TheEndOfADomainIsReportedOnce) {
  sees("10.0.0.5", mac_a);
  of("a");
  trust.domain_ended("a");
  EXPECT_THAT(of("a"), IsEmpty());
  EXPECT_EQ(reports["a"], 2);
  trust.domain_ended("a");
  of("a");
  EXPECT_EQ(reports["a"], 2);
}

TEST_F(AddressTrustTest, ADumpIsNotBelievedForADomain) {
  state.neighbours = {{at("10.0.0.5"), NeighbourState::reachable, mac_a}};
  trust.reset(state);
  EXPECT_THAT(of("a"), IsEmpty());
  EXPECT_THAT(network.probes, ElementsAre(at("10.0.0.5")));
}

TEST_F(AddressTrustTest, ADumpAfterLostMessagesKeepsWhatStands) {
  sees("10.0.0.5", mac_a);
  sees("10.0.0.6", mac_b);
  of("a");
  state.neighbours = {{at("10.0.0.6"), NeighbourState::failed, ""}};
  trust.reset(state);
  EXPECT_THAT(of("a"), ElementsAre("10.0.0.5"));
  EXPECT_THAT(of("b"), IsEmpty());
}

TEST_F(AddressTrustTest, ATapThatTheKernelTellsOfLaterIsEnough) {
  trust.link_removed(tap_a);
  trust.domain_runs("a", 3, {{mac_a, "network", "", "tapA"}});
  sees("10.0.0.5", mac_a);
  EXPECT_THAT(of("a"), IsEmpty());
  network.probes.clear();
  trust.link_changed({tap_a, "tapA", 0});
  trust.link_changed({tap_a, "tapA", br});
  EXPECT_THAT(network.probes, ElementsAre(at("10.0.0.5")));
  entry(at("10.0.0.5"), NeighbourState::reachable, mac_a);
  EXPECT_THAT(of("a"), ElementsAre("10.0.0.5"));
}

TEST_F(AddressTrustTest, ATapThatIsRenamedIsFoundByItsNewName) {
  trust.link_changed({tap_b, "tapA", br});
  trust.link_changed({tap_a, "old", br});
  trust.link_changed({tap_b, "tapB", br});
  trust.link_changed({tap_a, "tapA", br});
  sees("10.0.0.5", mac_a);
  EXPECT_THAT(of("a"), ElementsAre("10.0.0.5"));
}

// ---- where the MAC is ----

TEST_F(AddressTrustTest, AMacThatIsLearnedElsewhereCountsForNobody) {
  sees("10.0.0.5", mac_a);
  EXPECT_THAT(of("a"), ElementsAre("10.0.0.5"));
  learn(mac_a, tap_b);
  EXPECT_THAT(of("a"), IsEmpty());
  EXPECT_THAT(of("b"), IsEmpty());
  forget(mac_a);
  EXPECT_THAT(of("a"), IsEmpty()) << "the last that was known is the wrong place";
  learn(mac_a, tap_a);
  EXPECT_THAT(of("a"), ElementsAre("10.0.0.5"));
}

TEST_F(AddressTrustTest, AMacThatTheBridgeHasForgottenIsAskedForOnce) {
  forget(mac_a);
  sees("10.0.0.5", mac_a);
  EXPECT_THAT(of("a"), IsEmpty());
  EXPECT_THAT(network.probes, ElementsAre(at("10.0.0.5")));
  // The answer comes and the bridge still does not learn: no storm of questions.
  entry(at("10.0.0.5"), NeighbourState::checking, mac_a);
  entry(at("10.0.0.5"), NeighbourState::reachable, mac_a);
  EXPECT_THAT(of("a"), IsEmpty());
  EXPECT_EQ(network.probes.size(), 1u);
  learn(mac_a, tap_a);
  EXPECT_THAT(of("a"), ElementsAre("10.0.0.5"));
}

TEST_F(AddressTrustTest, OnePortTooManyIsNotTrusted) {
  network.ports[{br, mac_a}] = {tap_a, uplink};
  sees("10.0.0.5", mac_a);
  EXPECT_THAT(of("a"), IsEmpty());
}

TEST_F(AddressTrustTest, TwoDomainsWithOneMacGetNothing) {
  sees("10.0.0.5", mac_a);
  EXPECT_THAT(of("a"), ElementsAre("10.0.0.5"));
  trust.domain_runs("clone", 9, {{mac_a, "network", "br", "tapC"}});
  EXPECT_THAT(of("a"), IsEmpty());
  trust.domain_ended("clone");
  EXPECT_THAT(of("a"), ElementsAre("10.0.0.5"));
}

TEST_F(AddressTrustTest, WithoutATapInTheXmlASiblingsTapIsStillNone) {
  trust.domain_runs("a", 1, {{mac_a, "network", "br", ""}});
  sees("10.0.0.5", mac_a);
  EXPECT_THAT(of("a"), ElementsAre("10.0.0.5"));
  learn(mac_a, tap_b);
  EXPECT_THAT(of("a"), IsEmpty());
}

TEST_F(AddressTrustTest, ATapWithoutABridgeHasNoSiblings) {
  trust.domain_runs("c", 4, {{mac_x, "ethernet", "", "lone"}});
  sees("10.7.0.5", mac_x, lone_tap);
  EXPECT_THAT(of("c"), ElementsAre("10.7.0.5"));
}

// ---- which addresses ----

TEST_F(AddressTrustTest, OnlyAddressesOfTheBridgesSubnetsThatAreNotTheHosts) {
  for (const char* wrong : {"10.0.0.1", "10.0.0.0", "10.0.0.255", "10.2.0.5", "192.0.2.1",
                            "127.0.0.1", "0.0.0.0", "224.0.0.5", "fd00::1", "fd01::5", "ff02::1"})
    sees(wrong, mac_a);
  EXPECT_THAT(of("a"), IsEmpty());
}

TEST_F(AddressTrustTest, AnAddressThatIsRoutedElsewhereIsNone) {
  sees("10.0.0.5", mac_a);
  EXPECT_THAT(of("a"), ElementsAre("10.0.0.5"));
  network.routes.insert(network.routes.begin(), {uplink, ip("10.0.0.5"), ip("10.0.0.5"), 32});
  trust.routes_changed();
  EXPECT_THAT(of("a"), IsEmpty());
}

TEST_F(AddressTrustTest, SubnetsComeAndGo) {
  const HostAddress added{br, ip("10.3.0.1"), ip("10.3.0.1"), 24};
  network.routes.push_back(added);
  sees("10.3.0.5", mac_a);
  EXPECT_THAT(of("a"), IsEmpty());
  trust.host_address_added(added);
  EXPECT_THAT(of("a"), ElementsAre("10.3.0.5"));
  trust.host_address_removed(added);
  EXPECT_THAT(of("a"), IsEmpty());
}

TEST_F(AddressTrustTest, TheHostTakingTheAddressEndsIt) {
  sees("10.0.0.5", mac_a);
  of("a");
  trust.host_address_added({uplink, ip("10.0.0.5"), ip("10.0.0.5"), 32});
  EXPECT_THAT(of("a"), IsEmpty());
}

TEST_F(AddressTrustTest, LinkLocalAddressesCarryTheirBridge) {
  sees("fe80::5", mac_a);
  EXPECT_THAT(of("a"), ElementsAre("fe80::5"));
  EXPECT_EQ(trust.addresses("a")[0].scope(), br);
}

TEST_F(AddressTrustTest, OrderIsByInterfaceThenFamilyThenAge) {
  learn(mac_a2, tap_a2, br2);
  trust.domain_runs("a", 1,
                    {{mac_a, "network", "br", "tapA"}, {mac_a2, "network", "br2", "tapA2"}});
  sees("10.2.0.5", mac_a2, br2);
  sees("fe80::5", mac_a);
  sees("fd00::5", mac_a);
  sees("10.0.0.9", mac_a);
  sees("10.0.0.5", mac_a);
  EXPECT_THAT(of("a"), ElementsAre("10.0.0.9", "10.0.0.5", "fd00::5", "fe80::5", "10.2.0.5"));
  trust.leases_are({{mac_a, ip("10.0.0.5")}});
  EXPECT_THAT(of("a"), ElementsAre("10.0.0.5", "10.0.0.9", "fd00::5", "fe80::5", "10.2.0.5"));
}

TEST_F(AddressTrustTest, ANicThatIsUnpluggedTakesItsAddresses) {
  learn(mac_a2, tap_a2, br2);
  trust.domain_runs("a", 1,
                    {{mac_a, "network", "br", "tapA"}, {mac_a2, "network", "br2", "tapA2"}});
  sees("10.0.0.5", mac_a);
  sees("10.2.0.5", mac_a2, br2);
  EXPECT_THAT(of("a"), ElementsAre("10.0.0.5", "10.2.0.5"));
  trust.domain_runs("a", 1, {{mac_a2, "network", "br2", "tapA2"}});
  EXPECT_THAT(of("a"), ElementsAre("10.2.0.5"));
}

TEST_F(AddressTrustTest, AMacSeenOnAnotherBridgeIsNotTheDomains) {
  network.ports[{br2, mac_a}] = {tap_a2};
  sees("10.2.0.5", mac_a, br2);
  EXPECT_THAT(of("a"), IsEmpty());
}

// ---- who else claims it ----

TEST_F(AddressTrustTest, WhatTwoDomainsClaimNeitherGets) {
  sees("10.0.0.5", mac_a);
  EXPECT_THAT(of("a"), ElementsAre("10.0.0.5"));
  entry(at("10.0.0.5"), NeighbourState::reachable, mac_b);
  EXPECT_THAT(of("a"), IsEmpty());
  EXPECT_THAT(of("b"), IsEmpty());
  entry(at("10.0.0.5"), NeighbourState::reachable, mac_a);
  EXPECT_THAT(of("a"), IsEmpty()) << "the other one is still there";
  trust.domain_ended("b");
  EXPECT_THAT(of("a"), ElementsAre("10.0.0.5"));
}

TEST_F(AddressTrustTest, NoAnswerFromAnyoneSettlesADispute) {
  sees("10.0.0.5", mac_a);
  entry(at("10.0.0.5"), NeighbourState::reachable, mac_b);
  entry(at("10.0.0.5"), NeighbourState::checking, mac_b);
  entry(at("10.0.0.5"), NeighbourState::failed);
  sees("10.0.0.5", mac_b);
  EXPECT_THAT(of("b"), ElementsAre("10.0.0.5"));
}

TEST_F(AddressTrustTest, AnAddressThatMovesWithItsLeaseIsTheNewOnes) {
  trust.leases_are({{mac_a, ip("10.0.0.5")}});
  sees("10.0.0.5", mac_a);
  EXPECT_THAT(of("a"), ElementsAre("10.0.0.5"));
  trust.leases_are({{mac_b, ip("10.0.0.5")}, {mac_a, ip("10.0.0.8")}});
  EXPECT_THAT(of("a"), IsEmpty());
  sees("10.0.0.8", mac_a);
  entry(at("10.0.0.5"), NeighbourState::reachable, mac_b);
  EXPECT_THAT(of("a"), ElementsAre("10.0.0.8"));
  EXPECT_THAT(of("b"), ElementsAre("10.0.0.5"));
}

TEST_F(AddressTrustTest, WhatIsLeasedToOneIsNotAnothers) {
  trust.leases_are({{mac_a, ip("10.0.0.5")}});
  sees("10.0.0.5", mac_b);
  EXPECT_THAT(of("b"), IsEmpty());
  trust.domain_ended("a");
  EXPECT_THAT(of("b"), ElementsAre("10.0.0.5"));
  trust.domain_runs("a", 8, {{mac_a, "network", "br", "tapA"}});
  EXPECT_THAT(of("b"), IsEmpty());
}

TEST_F(AddressTrustTest, AStrangerOnTheBridgeKeepsItsAddress) {
  learn(mac_x, uplink);
  sees("10.0.0.5", mac_x);
  entry(at("10.0.0.5"), NeighbourState::reachable, mac_a);
  EXPECT_THAT(of("a"), IsEmpty());
  forget(mac_x);
  EXPECT_THAT(of("a"), ElementsAre("10.0.0.5")) << "the stranger has left";
}

TEST_F(AddressTrustTest, AStrangerThatComesLaterIsARivalToo) {
  sees("10.0.0.5", mac_a);
  EXPECT_THAT(of("a"), ElementsAre("10.0.0.5"));
  learn(mac_x, uplink);
  entry(at("10.0.0.5"), NeighbourState::reachable, mac_x);
  EXPECT_THAT(of("a"), IsEmpty());
  entry(at("10.0.0.5"), NeighbourState::reachable, mac_a);
  EXPECT_THAT(of("a"), IsEmpty());
  nobody_answers("10.0.0.5");
  sees("10.0.0.5", mac_a);
  EXPECT_THAT(of("a"), ElementsAre("10.0.0.5")) << "it no longer answers for it";
}

TEST_F(AddressTrustTest, WhatTheKernelBelievesNowCounts) {
  sees("10.0.0.5", mac_a);
  EXPECT_THAT(of("a"), ElementsAre("10.0.0.5"));
  // From a machine that the bridge has forgotten already.
  entry(at("10.0.0.5"), NeighbourState::reachable, mac_x);
  EXPECT_THAT(of("a"), IsEmpty());
  entry(at("10.0.0.5"), NeighbourState::reachable, mac_a);
  EXPECT_THAT(of("a"), ElementsAre("10.0.0.5"));
}

TEST_F(AddressTrustTest, AFormerHolderThatIsGoneIsNoRival) {
  // The last machine with this address; its port is long gone.
  sees("10.0.0.5", mac_x);
  entry(at("10.0.0.5"), NeighbourState::stale, mac_a);
  EXPECT_THAT(of("a"), ElementsAre("10.0.0.5"));
}

TEST_F(AddressTrustTest, AClaimOnAnotherBridgeDisputesNothing) {
  sees("10.0.0.5", mac_a);
  learn(mac_a2, tap_a2, br2);
  trust.domain_runs("c", 4, {{mac_a2, "network", "br2", "tapA2"}});
  sees("10.0.0.5", mac_a2, br2);
  EXPECT_THAT(of("a"), ElementsAre("10.0.0.5"));
  EXPECT_THAT(of("c"), IsEmpty());
}

// ---- hearsay ----

TEST_F(AddressTrustTest, ALeaseAloneOnlyMakesTheKernelAsk) {
  trust.leases_are({{mac_a, ip("10.0.0.5")}});
  EXPECT_THAT(of("a"), IsEmpty());
  EXPECT_THAT(network.probes, ElementsAre(at("10.0.0.5")));
  network.probes.clear();
  trust.leases_are({{mac_a, ip("10.0.0.5")}});
  EXPECT_THAT(network.probes, IsEmpty()) << "it was asked already";
  entry(at("10.0.0.5"), NeighbourState::incomplete);
  entry(at("10.0.0.5"), NeighbourState::reachable, mac_a);
  EXPECT_THAT(of("a"), ElementsAre("10.0.0.5"));
}

TEST_F(AddressTrustTest, TheAgentsWordAloneOnlyMakesTheKernelAsk) {
  trust.agent_says("a", {{mac_a, ip("10.0.0.5")},
                         {mac_a, ip("192.0.2.1")},
                         {mac_a, ip("10.0.0.1")},
                         {mac_b, ip("10.0.0.7")},
                         {"00:00:00:00:00:00", ip("127.0.0.1")}});
  EXPECT_THAT(of("a"), IsEmpty());
  EXPECT_THAT(network.probes, ElementsAre(at("10.0.0.5")));
}

TEST_F(AddressTrustTest, ALeaseThatIsGivenUpEndsTheAddressUntilTheGuestAnswers) {
  trust.leases_are({{mac_a, ip("10.0.0.5")}});
  sees("10.0.0.5", mac_a);
  EXPECT_THAT(of("a"), ElementsAre("10.0.0.5"));
  network.probes.clear();
  trust.leases_are({});
  EXPECT_THAT(of("a"), IsEmpty());
  EXPECT_THAT(network.probes, ElementsAre(at("10.0.0.5")));
  entry(at("10.0.0.5"), NeighbourState::reachable, mac_a);
  EXPECT_THAT(of("a"), ElementsAre("10.0.0.5"));
}

TEST_F(AddressTrustTest, ANewAddressMakesTheKernelAskForTheOldOne) {
  sees("10.0.0.5", mac_a);
  of("a");
  network.probes.clear();
  sees("10.0.0.9", mac_a);
  EXPECT_THAT(of("a"), ElementsAre("10.0.0.5", "10.0.0.9"));
  EXPECT_THAT(network.probes, ElementsAre(at("10.0.0.5")));
}

// ---- bounds ----

TEST_F(AddressTrustTest, AGuestThatClaimsEverythingHoldsAFew) {
  trust.leases_are({{mac_a, ip("10.0.0.5")}});
  sees("10.0.0.5", mac_a);
  for (int i = 10; i < 250; ++i)
    sees(("10.0.0." + std::to_string(i)).c_str(), mac_a);
  const auto held = of("a");
  EXPECT_EQ(held.size(), 16u);
  EXPECT_EQ(held.front(), "10.0.0.5") << "the leased one stays";
  // Another's address is disputed no longer than it is held.
  sees("10.0.0.30", mac_b);
  EXPECT_THAT(of("b"), ElementsAre("10.0.0.30"));
}

TEST_F(AddressTrustTest, AStormOfNewAddressesIsNotAStormOfQuestions) {
  for (int i = 10; i < 250; ++i) {
    sees(("10.0.0." + std::to_string(i)).c_str(), mac_a);
    of("a");
  }
  EXPECT_LT(network.probes.size(), 200u);
}

}  // namespace
}  // namespace vf
