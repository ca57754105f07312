// SPDX-License-Identifier: LGPL-2.1-or-later

#include "core/definition.h"

#include <gtest/gtest.h>

namespace vf {
namespace {

Port port(std::uint16_t number) {
  return *Port::from(number);
}

TEST(ForwardIdentity, IsTheNameWhereThereIsOne) {
  ForwardDefinition forward{.guest = port(80)};
  forward.name = "web";
  EXPECT_EQ(forward.identity(), "web");
}

TEST(ForwardIdentity, IsProtocolAndSidesOtherwise) {
  ForwardDefinition forward{.guest = port(80)};
  EXPECT_EQ(forward.identity(), "tcp:any:80");
  forward.host = PortRange(port(8080));
  EXPECT_EQ(forward.identity(), "tcp:8080:80");
  forward.protocol = Protocol::udp;
  forward.host_address = IpAddress::v4({10, 0, 0, 1});
  forward.guest_address = IpAddress::loopback6();
  EXPECT_EQ(forward.identity(), "udp:10.0.0.1=8080:::1=80");
}

TEST(ForwardIdentity, NamesRangesAndSockets) {
  ForwardDefinition forward{.guest = *PortRange::from(port(80), port(81))};
  forward.host = *PortRange::from(port(90), port(91));
  EXPECT_EQ(forward.identity(), "tcp:90-91:80-81");
  forward.guest = SocketPath{"/run/x"};
  forward.host = SocketPath{"a/x"};
  EXPECT_EQ(forward.identity(), "tcp:a/x:/run/x");
}

TEST(ForwardIdentity, DoesNotDependOnTheRest) {
  ForwardDefinition one{.guest = port(80)};
  ForwardDefinition other = one;
  other.label = "label";
  other.transport = Transport::vsock;
  other.enabled = false;
  EXPECT_EQ(one.identity(), other.identity());
}

TEST(UsualScheme, KnowsWebPorts) {
  for (const std::uint16_t number : std::initializer_list<std::uint16_t>{80, 3000, 5173, 8080})
    EXPECT_EQ(usual_scheme(port(number)), "http") << number;
  EXPECT_EQ(usual_scheme(port(443)), "https");
  EXPECT_EQ(usual_scheme(port(8443)), "https");
  EXPECT_EQ(usual_scheme(port(22)), "");
}

}  // namespace
}  // namespace vf
