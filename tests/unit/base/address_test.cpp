// SPDX-License-Identifier: LGPL-2.1-or-later

#include "base/address.h"

#include <gtest/gtest.h>

namespace vf {
namespace {

IpAddress address(std::string_view text) {
  return *IpAddress::parse(text);
}

TEST(IpAddress, ParsesLiteralsOnly) {
  for (const char* text :
       {"127.0.0.1", "0.0.0.0", "255.255.255.255", "::", "::1", "fe80::1", "2001:db8::1:0:0:1"})
    EXPECT_EQ(address(text).text(), text);
  EXPECT_EQ(address("2001:DB8::0:1").text(), "2001:db8::1");
  for (const char* text :
       {"", "localhost", "127.1", "127.0.0.01", "0x7f.0.0.1", "256.0.0.1", "127.0.0.1:80", "[::1]",
        "fe80::1%lo", " ::1", "::1 ", "1::2::3", "12345::", "10.0.0.0/8"})
    EXPECT_FALSE(IpAddress::parse(text)) << text;
  EXPECT_FALSE(IpAddress::parse(std::string_view("::1\0x", 5)));
}

TEST(IpAddress, KnowsKinds) {
  EXPECT_TRUE(address("127.9.9.9").is_loopback());
  EXPECT_TRUE(address("::1").is_loopback());
  EXPECT_FALSE(address("::2").is_loopback());
  EXPECT_FALSE(address("128.0.0.1").is_loopback());
  EXPECT_TRUE(address("0.0.0.0").is_wildcard());
  EXPECT_TRUE(address("::").is_wildcard());
  EXPECT_FALSE(address("0.0.0.1").is_wildcard());
  EXPECT_TRUE(address("169.254.1.1").is_link_local());
  EXPECT_TRUE(address("fe80::1").is_link_local());
  EXPECT_TRUE(address("febf::1").is_link_local());
  EXPECT_FALSE(address("fec0::1").is_link_local());
}

TEST(IpAddress, TheUnspecifiedOfOneFamilyIsNotThatOfTheOther) {
  EXPECT_NE(address("0.0.0.0"), address("::"));
  EXPECT_EQ(address("::1"), IpAddress::loopback6());
  EXPECT_EQ(address("127.0.0.1"), IpAddress::loopback4());
}

TEST(IpAddress, OnlyLinkLocalsHaveAScope) {
  std::array<std::uint8_t, 16> bytes{0xfe, 0x80};
  EXPECT_EQ(IpAddress::v6(bytes, 3).scope(), 3u);
  EXPECT_NE(IpAddress::v6(bytes, 3), IpAddress::v6(bytes, 4));
  bytes[0] = 0x20;
  EXPECT_EQ(IpAddress::v6(bytes, 3), IpAddress::v6(bytes, 4));
}

TEST(IpAddress, SubnetsComparePrefixes) {
  EXPECT_TRUE(address("192.168.122.7").in_subnet(address("192.168.122.1"), 24));
  EXPECT_FALSE(address("192.168.123.7").in_subnet(address("192.168.122.1"), 24));
  EXPECT_TRUE(address("192.168.123.7").in_subnet(address("192.168.122.1"), 23));
  EXPECT_TRUE(address("1.2.3.4").in_subnet(address("9.9.9.9"), 0));
  EXPECT_TRUE(address("1.2.3.4").in_subnet(address("1.2.3.4"), 32));
  EXPECT_FALSE(address("1.2.3.5").in_subnet(address("1.2.3.4"), 32));
  EXPECT_FALSE(address("1.2.3.4").in_subnet(address("1.2.3.4"), 33));
  EXPECT_TRUE(address("fd00::1:2").in_subnet(address("fd00::1:0"), 112));
  EXPECT_FALSE(address("fd00::1:2").in_subnet(address("fd00::1:3"), 128));
  EXPECT_FALSE(address("0.0.0.1").in_subnet(address("::"), 0));
}

TEST(IpAddress, ComesFromFourOrSixteenBytes) {
  const std::array<std::uint8_t, 16> bytes{10, 0, 0, 1};
  EXPECT_EQ(IpAddress::from_bytes(std::span(bytes).first(4)), address("10.0.0.1"));
  EXPECT_EQ(IpAddress::from_bytes(bytes), address("a00:1::"));
  EXPECT_FALSE(IpAddress::from_bytes(std::span(bytes).first(5)));
  EXPECT_FALSE(IpAddress::from_bytes({}));
}

TEST(Endpoint, SpellsPortsUnambiguously) {
  EXPECT_EQ((Endpoint{address("127.0.0.1"), *Port::from(80)}).text(), "127.0.0.1:80");
  EXPECT_EQ((Endpoint{address("::1"), *Port::from(80)}).text(), "[::1]:80");
}

TEST(SocketAddress, GoesThereAndBack) {
  for (const char* text : {"127.0.0.1", "fd00::1"}) {
    const Endpoint endpoint{address(text), *Port::from(8080)};
    EXPECT_EQ(SocketAddress::from(endpoint.address, endpoint.port).endpoint(), endpoint);
  }
  std::array<std::uint8_t, 16> bytes{0xfe, 0x80};
  const Endpoint scoped{IpAddress::v6(bytes, 7), *Port::from(1)};
  EXPECT_EQ(SocketAddress::from(scoped.address, scoped.port).endpoint(), scoped);
}

TEST(SocketAddress, HasNoEndpointWithoutPortOrFamily) {
  EXPECT_FALSE(SocketAddress::from(IpAddress::loopback4(), std::nullopt).endpoint());
  EXPECT_FALSE(SocketAddress().endpoint());
}

}  // namespace
}  // namespace vf
