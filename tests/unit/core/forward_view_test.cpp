// SPDX-License-Identifier: LGPL-2.1-or-later

#include "core/forward_view.h"

#include <gtest/gtest.h>

namespace vf {
namespace {

TEST(ForwardId, APortOfARangeNamesItsGuestPort) {
  EXPECT_EQ(forward_id("tcp:8080:80", false, Port::from(80)), "tcp:8080:80");
  EXPECT_EQ(forward_id("games", true, Port::from(8001)), "games#8001");
  EXPECT_EQ(forward_id("pg", false, std::nullopt), "pg");
}

ForwardView listening(std::vector<IpAddress> addresses) {
  ForwardView forward;
  forward.host_addresses = std::move(addresses);
  forward.host_port = Port::from(8080);
  return forward;
}

TEST(ForwardUrl, NamesAnAddressToConnectTo) {
  const auto four = *IpAddress::parse("192.0.2.1");
  const auto six = *IpAddress::parse("2001:db8::1");
  const auto any4 = *IpAddress::parse("0.0.0.0");
  const auto any6 = *IpAddress::parse("::");
  const auto lo4 = IpAddress::loopback4();
  const auto lo6 = IpAddress::loopback6();
  EXPECT_EQ(forward_url(listening({lo4, lo6}), "http"), "http://127.0.0.1:8080");
  EXPECT_EQ(forward_url(listening({lo6, lo4}), ""), "127.0.0.1:8080");
  EXPECT_EQ(forward_url(listening({lo6}), "http"), "http://[::1]:8080");
  EXPECT_EQ(forward_url(listening({four}), "https"), "https://192.0.2.1:8080");
  EXPECT_EQ(forward_url(listening({six}), ""), "[2001:db8::1]:8080");
  EXPECT_EQ(forward_url(listening({any4}), "http"), "http://127.0.0.1:8080");
  EXPECT_EQ(forward_url(listening({any6}), "http"), "http://[::1]:8080");
  EXPECT_EQ(forward_url(listening({}), ""), "127.0.0.1:8080");
}

TEST(ForwardUrl, NoneWithoutAHostPort) {
  EXPECT_EQ(forward_url(ForwardView(), "http"), "");
}

}  // namespace
}  // namespace vf
