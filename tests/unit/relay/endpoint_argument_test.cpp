// SPDX-License-Identifier: LGPL-2.1-or-later

#include "relay/endpoint_argument.h"

#include <gtest/gtest.h>

#include <sstream>
#include <string>

namespace vf {
namespace {

std::string listen_at(std::string_view text) {
  const auto parsed = parse_listen_argument(text);
  if (!parsed) return parsed.error().message;
  if (const auto* inet = std::get_if<InetListen>(&*parsed))
    return inet->address.text() + ' ' + (inet->port ? std::to_string(inet->port->number()) : "any");
  if (const auto* vsock = std::get_if<VsockEndpoint>(&*parsed)) return vf::text(*vsock);
  const auto& local = std::get<UnixListen>(*parsed);
  std::ostringstream out;
  out << local.endpoint.path << ' ' << std::oct << local.access.mode;
  if (local.access.user) out << " user " << std::dec << *local.access.user;
  if (local.access.group) out << " group " << std::dec << *local.access.group;
  return out.str();
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
  EXPECT_EQ(listen_at("udp:127.0.0.1:53"), "127.0.0.1 53");
  EXPECT_EQ(parse_connect_argument("udp:[::1]:53")->protocol, RelayProtocol::datagram);
  EXPECT_EQ(parse_connect_argument("tcp:[::1]:53")->protocol, RelayProtocol::stream);
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

TEST(EndpointArgument, UnixSocketsByPathAndByName) {
  EXPECT_EQ(connect_to("unix:/run/web.sock"), "unix:/run/web.sock");
  EXPECT_EQ(connect_to("unix:@web"), "unix:@web");
  EXPECT_EQ(listen_at("unix:@web"), "@web 600");
  EXPECT_EQ(listen_at("unix:/run/web.sock"), "/run/web.sock 600");
  EXPECT_EQ(listen_at("unix:/run/web.sock,mode=0660,user=root,group=root"),
            "/run/web.sock 660 user 0 group 0");
  const std::string most = '/' + std::string(106, 'p');
  EXPECT_EQ(connect_to("unix:" + most), "unix:" + most);
  const auto expect_error = [](const std::string& argument, std::string_view word) {
    EXPECT_NE(listen_at(argument).find(word), std::string::npos) << listen_at(argument);
  };
  expect_error("unix:" + most + "p", "at most 107 bytes");
  expect_error("unix:", "the path is missing");
  expect_error("unix:@", "the path is missing");
  expect_error("unix:web.sock", "begins with /");
  expect_error("unix:/a,mode=0999", "mode=0999 is not a mode");
  expect_error("unix:/a,mode=", "is not a mode");
  expect_error("unix:/a,mode=1777", "is not a mode");
  expect_error("unix:/a,user=nobody-of-that-name", "no user");
  expect_error("unix:/a,group=nobody-of-that-name", "no group");
  expect_error("unix:/a,fork", "unknown option \"fork\"");
  expect_error("unix:@a,mode=0600", "has no file");
}

TEST(EndpointArgument, VsockByNumbers) {
  EXPECT_EQ(connect_to("vsock:3:1010"), "vsock:3:1010");
  EXPECT_EQ(listen_at("vsock:any:1010"), "vsock:4294967295:1010");
  for (const char* wrong : {"vsock:3", "vsock::1", "vsock:3:", "vsock:x:1", "vsock:any:1",
                            "vsock:4294967295:1", "vsock:4294967296:1", "vsock:3:4294967295"})
    EXPECT_NE(connect_to(wrong).find(std::string("\"") + wrong), std::string::npos) << wrong;
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
