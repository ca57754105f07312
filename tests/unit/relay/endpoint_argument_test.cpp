// SPDX-License-Identifier: LGPL-2.1-or-later

#include "relay/endpoint_argument.h"

#include <gtest/gtest.h>

#include <string>

namespace vf {
namespace {

std::string listen_at(std::string_view text) {
  const auto parsed = parse_listen_argument(text);
  if (!parsed) return parsed.error().message;
  return parsed->address.text() + ' ' +
         (parsed->port ? std::to_string(parsed->port->number()) : "any");
}

std::string connect_to(std::string_view argument) {
  const auto parsed = parse_connect_argument(argument);
  return parsed ? text(parsed->endpoint) : parsed.error().message;
}

TEST(EndpointArgument, AddressesOfBothFamilies) {
  EXPECT_EQ(listen_at("tcp:127.0.0.1:8080"), "127.0.0.1 8080");
  EXPECT_EQ(listen_at("tcp:[::1]:8080"), "::1 8080");
  EXPECT_EQ(listen_at("tcp:0.0.0.0:65535"), "0.0.0.0 65535");
  EXPECT_EQ(connect_to("tcp:127.0.0.1:80"), "127.0.0.1:80");
  EXPECT_EQ(connect_to("tcp:[2001:db8::7]:80"), "[2001:db8::7]:80");
}

TEST(EndpointArgument, PortZeroIsAnyPortToListenAtAndNothingToConnectTo) {
  EXPECT_EQ(listen_at("tcp:127.0.0.1:0"), "127.0.0.1 any");
  EXPECT_EQ(connect_to("tcp:127.0.0.1:0"), "\"tcp:127.0.0.1:0\": port 0 is nothing to connect to");
}

TEST(EndpointArgument, ALinkLocalAddressNamesItsInterface) {
  const auto parsed = parse_connect_argument("tcp:[fe80::1%lo]:80");
  ASSERT_TRUE(parsed);
  EXPECT_EQ(std::get<Endpoint>(parsed->endpoint).address.scope(), 1u);
  EXPECT_NE(connect_to("tcp:[fe80::1%nonesuch]:80").find("no interface \"nonesuch\""),
            std::string::npos);
  EXPECT_NE(connect_to("tcp:[fe80::1]:80").find("needs its interface"), std::string::npos);
  EXPECT_NE(connect_to("tcp:[2001:db8::1%lo]:80").find("only a link-local"), std::string::npos);
}

TEST(EndpointArgument, ErrorsNameTheArgumentAndWhatIsWrong) {
  EXPECT_EQ(listen_at("tcp:127.0.0.1:99999"),
            "\"tcp:127.0.0.1:99999\": \"99999\" is not a port (a number from 1 to 65535)");
  EXPECT_NE(listen_at("tcp:127.0.0.1:").find("is not a port"), std::string::npos);
  EXPECT_NE(listen_at("tcp:127.0.0.1:+80").find("is not a port"), std::string::npos);
  EXPECT_NE(listen_at("tcp:127.0.0.1:00").find("is not a port"), std::string::npos);
  EXPECT_NE(listen_at("tcp:localhost:80").find("write 127.0.0.1 or [::1]"), std::string::npos);
  EXPECT_NE(listen_at("tcp:1.2.3:80").find("is not an IPv4 or IPv6 address"), std::string::npos);
  EXPECT_NE(listen_at("tcp:127.0.0.1").find("the port is missing"), std::string::npos);
  EXPECT_NE(listen_at("tcp:[::1]").find("the port is missing"), std::string::npos);
  EXPECT_NE(listen_at("tcp:::1:80").find("in brackets: [::1]"), std::string::npos);
  EXPECT_NE(listen_at("tcp:[127.0.0.1]:80").find("only an IPv6"), std::string::npos);
  for (const char* unknown : {"", "127.0.0.1:80", "8080", "sctp:127.0.0.1:80", ":", "tcp"})
    EXPECT_NE(connect_to(unknown).find("an endpoint is written"), std::string::npos) << unknown;
  // What is wrong goes to a terminal.
  EXPECT_EQ(listen_at("tcp:\x1b[2J:1").find('\x1b'), std::string::npos);
}

}  // namespace
}  // namespace vf
