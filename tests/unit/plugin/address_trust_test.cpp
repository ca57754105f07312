// SPDX-License-Identifier: LGPL-2.1-or-later

#include "address_trust_lab.h"

namespace vf {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;

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

}  // namespace
}  // namespace vf
