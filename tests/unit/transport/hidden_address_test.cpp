// SPDX-License-Identifier: LGPL-2.1-or-later

#include <gtest/gtest.h>

#include <set>

#include "base/listening_socket.h"
#include "transport/usernet_tunnels.h"

namespace vf {
namespace {

constexpr const char* uuid = "b2f3a7de-5d4c-4c67-9f4a-0d9e8c7b6a51";

TEST(HiddenAddress, IsApartFromWhatOthersUse) {
  std::set<IpAddress> seen;
  for (int run = 1; run <= 1000; ++run) {
    const IpAddress own = hidden_address(uuid, run, false), named = hidden_address(uuid, run, true);
    EXPECT_TRUE(is_hidden_address(own));
    EXPECT_TRUE(is_hidden_address(named));
    EXPECT_NE(own, named);
    seen.insert(own);
  }
  EXPECT_GT(seen.size(), 990u);
  for (const char* other :
       {"127.0.0.1", "127.0.1.1", "127.0.0.53", "127.255.255.255", "10.64.0.2", "::1"})
    EXPECT_FALSE(is_hidden_address(*IpAddress::parse(other))) << other;
  // A daemon of another version must find it again.
  EXPECT_EQ(hidden_address(uuid, 3, false).text(), "127.94.196.0");
}

TEST(HiddenAddress, ItsListenersAreSeen) {
  const Endpoint end{hidden_address(uuid, 77, false), *Port::from(61000)};
  EXPECT_TRUE(UsernetTunnels::is_free_here(Protocol::tcp, end));
  EXPECT_FALSE(UsernetTunnels::hidden_listeners_here().contains(end.address));
  {
    const auto tcp = listen_tcp(end.address, end.port);
    ASSERT_TRUE(std::holds_alternative<Fd>(tcp));
    EXPECT_FALSE(UsernetTunnels::is_free_here(Protocol::tcp, end));
    EXPECT_TRUE(UsernetTunnels::is_free_here(Protocol::udp, end));
    EXPECT_TRUE(UsernetTunnels::hidden_listeners_here().contains(end.address));
  }
  const auto udp = bind_udp(end.address, end.port);
  ASSERT_TRUE(std::holds_alternative<Fd>(udp));
  EXPECT_FALSE(UsernetTunnels::is_free_here(Protocol::udp, end));
  EXPECT_TRUE(UsernetTunnels::hidden_listeners_here().contains(end.address));
}

}  // namespace
}  // namespace vf
