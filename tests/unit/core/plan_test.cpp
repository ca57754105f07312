// SPDX-License-Identifier: LGPL-2.1-or-later

#include "core/plan.h"

#include <gtest/gtest.h>

namespace vf {
namespace {

Port port(unsigned number) {
  return *Port::from(number);
}

HostClaim claim(std::optional<unsigned> number, OnBusy on_busy = OnBusy::next) {
  HostClaim claim;
  claim.addresses = {IpAddress::loopback4(), IpAddress::loopback6()};
  if (number) claim.port = port(*number);
  claim.on_busy = on_busy;
  return claim;
}

DesiredForward desired(std::string key, HostClaim claim) {
  DesiredForward forward;
  forward.key = std::move(key);
  forward.claim = std::move(claim);
  return forward;
}

ActualForward actual(std::string key, HostClaim claim, unsigned bound, bool served = true) {
  return {std::move(key), std::move(claim), port(bound), {}, served};
}

std::vector<std::string> keys(const std::vector<DesiredForward>& forwards) {
  std::vector<std::string> result;
  for (const DesiredForward& forward : forwards)
    result.push_back(forward.key);
  return result;
}

using Keys = std::vector<std::string>;

TEST(Plan, WhatIsAlreadySoNeedsNothing) {
  EXPECT_TRUE(plan({}, {}).empty());
  EXPECT_TRUE(plan({desired("a", claim(80))}, {actual("a", claim(80), 80)}).empty());
  EXPECT_TRUE(plan({desired("a", claim({}))}, {actual("a", claim({}), 40000)}).empty());
}

TEST(Plan, BindsWhatIsMissingAndRemovesWhatIsNotWanted) {
  const Plan plan = vf::plan({desired("new", claim(81))}, {actual("old", claim(80), 80)});
  EXPECT_EQ(plan.remove, Keys{"old"});
  EXPECT_EQ(keys(plan.bind), Keys{"new"});
}

TEST(Plan, AForwardThatMovedKeepsItsPlace) {
  EXPECT_TRUE(plan({desired("a", claim(8080))}, {actual("a", claim(8080), 8081)}).empty());
}

TEST(Plan, AnExactClaimOnAMovedForwardBindsAnew) {
  const Plan plan =
      vf::plan({desired("a", claim(8080, OnBusy::fail))}, {actual("a", claim(8080), 8081)});
  EXPECT_EQ(plan.remove, Keys{"a"});
  EXPECT_EQ(keys(plan.bind), Keys{"a"});
}

TEST(Plan, AnotherRequestedPortBindsAnewUnlessItIsTheOneHeld) {
  EXPECT_EQ(plan({desired("a", claim(9090))}, {actual("a", claim(8080), 8080)}).remove, Keys{"a"});
  EXPECT_TRUE(plan({desired("a", claim(8081))}, {actual("a", claim(8080), 8081)}).empty());
}

TEST(Plan, OtherAddressesBindAnew) {
  HostClaim lan = claim(8080);
  lan.addresses = {*IpAddress::parse("192.0.2.1")};
  EXPECT_EQ(plan({desired("a", lan)}, {actual("a", claim(8080), 8080)}).remove, Keys{"a"});
}

TEST(Plan, ThePortOfTheOtherProtocolIsAnotherOne) {
  HostClaim udp = claim(8080);
  udp.protocol = Protocol::udp;
  const Plan plan = vf::plan({desired("a", udp)}, {actual("a", claim(8080), 8080)});
  EXPECT_EQ(plan.remove, Keys{"a"});
  EXPECT_EQ(keys(plan.bind), Keys{"a"});
}

TEST(Plan, ExactClaimsAreBoundBeforeThoseThatCanMove) {
  const Plan plan = vf::plan({desired("any", claim({})), desired("next", claim(80)),
                              desired("exact", claim(80, OnBusy::fail))},
                             {});
  EXPECT_EQ(keys(plan.bind), (Keys{"exact", "next", "any"}));
}

TEST(Plan, AReservedPortIsServedWithoutBindingAgain) {
  const Plan plan = vf::plan({desired("a", claim(80))}, {actual("a", claim(80), 80, false)});
  EXPECT_EQ(keys(plan.serve), Keys{"a"});
  EXPECT_TRUE(plan.bind.empty());
  EXPECT_TRUE(plan.remove.empty());
}

TEST(Plan, AReservationAloneIsNotServed) {
  DesiredForward reserved = desired("a", claim(80));
  reserved.serve = false;
  EXPECT_TRUE(plan({reserved}, {actual("a", claim(80), 80, false)}).empty());
}

TEST(Plan, AnotherRouteIsAnUpdateThatCutsNothing) {
  DesiredForward moved = desired("a", claim(80));
  moved.route.endpoints = {Endpoint{*IpAddress::parse("192.0.2.7"), port(80)}};
  const Plan plan = vf::plan({moved}, {actual("a", claim(80), 80)});
  EXPECT_EQ(keys(plan.update), Keys{"a"});
  EXPECT_TRUE(plan.remove.empty());
  EXPECT_TRUE(plan.bind.empty());
}

}  // namespace
}  // namespace vf
