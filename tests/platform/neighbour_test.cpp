// SPDX-License-Identifier: LGPL-2.1-or-later
//
// What the kernel's neighbour and forwarding tables tell, and when.

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <net/if.h>
#include <poll.h>

#include <algorithm>
#include <chrono>
#include <functional>

#include "plugin/netlink.h"
#include "private_network.h"

namespace vf {
namespace {

using test::FakeGuest;
using ::testing::Contains;
using ::testing::ElementsAre;
using ::testing::Not;

IpAddress address(const char* text) {
  return *IpAddress::parse(text);
}

class NeighbourTest : public ::testing::Test, protected Netlink::Observer {
 protected:
  void SetUp() override {
    ASSERT_TRUE(test::add_bridge("vbr0", "10.9.0.1/24 fd00:9::1/64"));
    bridge = if_nametoindex("vbr0");
    auto opened = Netlink::open();
    ASSERT_TRUE(opened);
    netlink = *std::move(opened);
  }
  void TearDown() override { test::ip("link del vbr0"); }

  void link_changed(const Link&) override {}
  void link_removed(std::uint32_t) override {}
  void host_address_added(const HostAddress&) override {}
  void host_address_removed(const HostAddress&) override {}
  void neighbour_changed(const Neighbour& neighbour) override { seen.push_back(neighbour); }
  void forwarding_changed(const std::string& mac) override { moved.push_back(mac); }
  void routes_changed() override {}
  void overrun() override { ++overruns; }

  // Serves netlink and `guest` until the condition holds, five seconds at most.
  bool run_until(const std::function<bool()>& condition, const FakeGuest* guest = nullptr,
                 const std::function<void()>& on_frame = {}) {
    const auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds(5);
    while (!condition()) {
      const auto left = std::chrono::duration_cast<std::chrono::milliseconds>(
          deadline - std::chrono::steady_clock::now());
      if (left.count() <= 0) return false;
      pollfd fds[] = {{netlink->fd(), POLLIN, 0}, {guest ? guest->fd() : -1, POLLIN, 0}};
      poll(fds, 2, static_cast<int>(left.count()));
      if (fds[0].revents) netlink->receive(*this);
      if (fds[1].revents) on_frame();
    }
    return true;
  }

  Neighbour entry(const char* ip, NeighbourState state, const std::string& mac) const {
    return {{bridge, address(ip)}, state, mac};
  }
  auto saw(const Neighbour& neighbour) {
    return
        [this, neighbour] { return std::find(seen.begin(), seen.end(), neighbour) != seen.end(); };
  }

  std::uint32_t bridge = 0;
  std::unique_ptr<Netlink> netlink;
  std::vector<Neighbour> seen;
  std::vector<std::string> moved;
  int overruns = 0;
};

constexpr const char* mac = "52:54:00:00:09:05";

TEST_F(NeighbourTest, AnArpRequestOfTheGuestMakesAnEntry) {
  FakeGuest guest("vbr0", "vtap5", mac);
  ASSERT_TRUE(guest);
  guest.ask("10.9.0.5", "10.9.0.1");
  EXPECT_TRUE(run_until(saw(entry("10.9.0.5", NeighbourState::stale, mac))));
  EXPECT_THAT(moved, Contains(mac));
  EXPECT_THAT(netlink->ports_of(bridge, mac), ElementsAre(if_nametoindex("vtap5")));
  EXPECT_THAT(netlink->read_all().neighbours,
              Contains(entry("10.9.0.5", NeighbourState::stale, mac)));
}

TEST_F(NeighbourTest, AProbeMakesTheKernelAskForAnUnknownAddress) {
  FakeGuest guest("vbr0", "vtap5", mac);
  ASSERT_TRUE(guest);
  netlink->probe({bridge, address("10.9.0.5")});
  EXPECT_TRUE(run_until(saw(entry("10.9.0.5", NeighbourState::reachable, mac)), &guest,
                        [&] { guest.answer("10.9.0.5"); }));
}

TEST_F(NeighbourTest, AProbeMakesTheKernelAskForAnUnknownIpv6Address) {
  FakeGuest guest("vbr0", "vtap5", mac);
  ASSERT_TRUE(guest);
  netlink->probe({bridge, address("fd00:9::5")});
  EXPECT_TRUE(run_until(saw(entry("fd00:9::5", NeighbourState::reachable, mac)), &guest,
                        [&] { guest.answer6("fd00:9::5"); }));
}

TEST_F(NeighbourTest, AProbeConfirmsAStaleEntryAtOnce) {
  FakeGuest guest("vbr0", "vtap5", mac);
  ASSERT_TRUE(guest);
  guest.ask("10.9.0.5", "10.9.0.1");
  ASSERT_TRUE(run_until(saw(entry("10.9.0.5", NeighbourState::stale, mac))));
  const auto begin = std::chrono::steady_clock::now();
  netlink->probe({bridge, address("10.9.0.5")});
  EXPECT_TRUE(run_until(saw(entry("10.9.0.5", NeighbourState::reachable, mac)), &guest,
                        [&] { guest.answer("10.9.0.5"); }));
  // Without the explicit state the kernel waits for five seconds first.
  EXPECT_LT(std::chrono::steady_clock::now() - begin, std::chrono::seconds(1));
}

TEST_F(NeighbourTest, AProbeThatNobodyAnswersFails) {
  netlink->probe({bridge, address("10.9.0.66")});
  EXPECT_TRUE(run_until(saw(entry("10.9.0.66", NeighbourState::failed, ""))));
}

TEST_F(NeighbourTest, AGoneLinkTakesItsMacFromTheTable) {
  {
    FakeGuest guest("vbr0", "vtap5", mac);
    ASSERT_TRUE(guest);
    guest.chatter(mac);
    ASSERT_TRUE(run_until([&] { return !moved.empty(); }));
    moved.clear();
  }
  EXPECT_TRUE(run_until([&] { return std::find(moved.begin(), moved.end(), mac) != moved.end(); }));
  EXPECT_THAT(netlink->ports_of(bridge, mac), ElementsAre());
}

TEST_F(NeighbourTest, ABorrowedMacMovesToTheBorrowersPort) {
  FakeGuest guest("vbr0", "vtap5", mac);
  FakeGuest sibling("vbr0", "vtap6", "52:54:00:00:09:06");
  ASSERT_TRUE(guest);
  ASSERT_TRUE(sibling);
  guest.chatter(mac);
  ASSERT_TRUE(run_until([&] { return moved.size() == 1; }));
  sibling.chatter(mac);
  ASSERT_TRUE(run_until([&] { return moved.size() == 2; }));
  EXPECT_THAT(netlink->ports_of(bridge, mac), ElementsAre(if_nametoindex("vtap6")));
}

TEST_F(NeighbourTest, RoutesTellTheLinkOfANeighbourOnly) {
  EXPECT_EQ(netlink->direct_route(address("10.9.0.5")), bridge);
  EXPECT_EQ(netlink->direct_route(address("fd00:9::5")), bridge);
  EXPECT_EQ(netlink->direct_route(address("10.9.0.1")), std::nullopt);
  EXPECT_EQ(netlink->direct_route(address("192.0.2.1")), std::nullopt);
  ASSERT_TRUE(test::ip("route add 192.0.2.0/24 via 10.9.0.2"));
  EXPECT_EQ(netlink->direct_route(address("192.0.2.1")), std::nullopt);
}

TEST_F(NeighbourTest, LostMessagesAreNoticed) {
  // More events than the socket holds while nobody reads.
  FakeGuest guest("vbr0", "vtap5", mac);
  ASSERT_TRUE(guest);
  for (int round = 0; round < 400 && overruns == 0; ++round) {
    for (int i = 0; i < 256; ++i) {
      char source[18];
      std::snprintf(source, sizeof source, "52:54:01:%02x:%02x:01", round & 0xff, i);
      guest.chatter(source);
    }
    if (round % 50 == 49) netlink->receive(*this);
  }
  EXPECT_TRUE(run_until([&] { return overruns > 0; }));
}

}  // namespace
}  // namespace vf
