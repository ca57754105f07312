// SPDX-License-Identifier: LGPL-2.1-or-later

#include "core/allocation.h"

#include <gtest/gtest.h>

#include <set>

namespace vf {
namespace {

Port port(unsigned number) {
  return *Port::from(number);
}

// A host on which some ports are held by others.
class FakeBinder : public PortBinder {
 public:
  std::set<unsigned> busy;
  std::set<unsigned> forbidden;
  std::vector<unsigned> kernel_choices{40000};
  std::vector<unsigned> tried;

  Result<BoundPort> bind(const HostClaim& claim, std::optional<Port> wanted) override {
    const unsigned number = wanted ? wanted->number() : kernel_choice();
    tried.push_back(number);
    if (forbidden.contains(number)) return Unexpected(ErrorCode::not_allowed, "privileged");
    if (busy.contains(number)) return Unexpected(ErrorCode::port_busy, "in use");
    return BoundPort{port(number), claim.addresses, {}};
  }
  void pause(const std::vector<Fd>&) override {}
  bool resume(const std::vector<Fd>&) override { return true; }

 private:
  unsigned kernel_choice() {
    const unsigned choice = kernel_choices.front();
    if (kernel_choices.size() > 1) kernel_choices.erase(kernel_choices.begin());
    return choice;
  }
};

class Allocation : public testing::Test {
 protected:
  Result<BoundPort> get(std::optional<unsigned> wanted, OnBusy on_busy,
                        std::optional<unsigned> sticky = {}) {
    HostClaim claim;
    claim.addresses = {IpAddress::loopback4()};
    claim.on_busy = on_busy;
    if (wanted) claim.port = port(*wanted);
    return allocate(claim, sticky ? std::optional(port(*sticky)) : std::nullopt, policy, binder);
  }

  FakeBinder binder;
  Policy policy;
};

TEST_F(Allocation, TheClaimedPortWhenItIsFree) {
  for (OnBusy on_busy : {OnBusy::next, OnBusy::any, OnBusy::fail})
    EXPECT_EQ(get(8080, on_busy)->port, port(8080));
}

TEST_F(Allocation, NextTakesTheNextFreeOne) {
  binder.busy = {8080, 8081, 8083};
  EXPECT_EQ(get(8080, OnBusy::next)->port, port(8082));
}

TEST_F(Allocation, NextEndsAtTheLastPort) {
  binder.busy = {65535};
  const auto result = get(65535, OnBusy::next);
  ASSERT_FALSE(result);
  EXPECT_EQ(result.error().code, ErrorCode::port_busy);
  EXPECT_EQ(binder.tried, std::vector<unsigned>{65535});
}

TEST_F(Allocation, AnyLeavesTheChoiceToTheKernel) {
  binder.busy = {8080};
  EXPECT_EQ(get(8080, OnBusy::any)->port, port(40000));
  EXPECT_EQ(get({}, OnBusy::next)->port, port(40000));
}

TEST_F(Allocation, FailDoesNotMove) {
  binder.busy = {8080};
  EXPECT_EQ(get(8080, OnBusy::fail).error().code, ErrorCode::port_busy);
}

TEST_F(Allocation, OtherErrorsEndTheSearch) {
  binder.forbidden = {80};
  EXPECT_EQ(get(80, OnBusy::next).error().code, ErrorCode::not_allowed);
  EXPECT_EQ(binder.tried, std::vector<unsigned>{80});
}

TEST_F(Allocation, StickyFirst) {
  EXPECT_EQ(get(8080, OnBusy::next, 8085)->port, port(8085));
  EXPECT_EQ(get({}, OnBusy::next, 8085)->port, port(8085));
}

TEST_F(Allocation, ABusyStickyPortIsOnlyAHint) {
  binder.busy = {8085};
  EXPECT_EQ(get(8080, OnBusy::next, 8085)->port, port(8080));
}

TEST_F(Allocation, AnExactClaimIgnoresAnotherStickyPort) {
  EXPECT_EQ(get(8080, OnBusy::fail, 8085)->port, port(8080));
}

TEST_F(Allocation, PassesOverWhatThePolicyForbids) {
  policy.host_ports = {PortRange(port(8080)), PortRange(port(9000))};
  binder.busy = {8080};
  EXPECT_EQ(get(8080, OnBusy::next)->port, port(9000));
  EXPECT_EQ(binder.tried, (std::vector<unsigned>{8080, 9000}));
}

TEST_F(Allocation, AnyStaysWithinThePolicy) {
  policy.host_ports = {*PortRange::from(port(9000), port(9001))};
  binder.busy = {9000};
  EXPECT_EQ(get({}, OnBusy::next)->port, port(9001));
}

}  // namespace
}  // namespace vf
