// SPDX-License-Identifier: LGPL-2.1-or-later
//
// Addresses that others claim as well, that are only told, or that are too many.

#include "address_trust_lab.h"

namespace vf {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;

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
