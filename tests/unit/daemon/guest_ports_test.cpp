// SPDX-License-Identifier: LGPL-2.1-or-later

#include "daemon/guest_ports.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace vf {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

constexpr std::int64_t second = 1'000'000;

GuestListener listener(const char* address, unsigned port) {
  GuestListener one;
  one.key = {false, *IpAddress::parse(address), *Port::from(port)};
  one.name = "server";
  return one;
}

class GuestPortsTest : public testing::Test {
 protected:
  void judge(std::int64_t now) { ports.judge(definition, policy, now); }
  std::vector<std::string> ids() const {
    std::vector<std::string> list;
    for (const auto& [id, entry] : ports.entries())
      list.push_back(id + (entry.gone ? " gone" : "") +
                     (entry.decision.forward ? "" : " " + std::string(text(entry.decision.state))));
    return list;
  }

  std::optional<AutoDefinition> definition = AutoDefinition{};
  Policy policy;
  GuestPorts ports;
};

TEST_F(GuestPortsTest, OneOfAPairIsEnough) {
  ports.heard(listener("0.0.0.0", 3000));
  ports.heard(listener("::", 3000));
  judge(0);
  EXPECT_THAT(ids(), ElementsAre("tcp:3000"));
  ports.gone(listener("0.0.0.0", 3000).key);
  judge(0);
  EXPECT_THAT(ids(), ElementsAre("tcp:3000"));
  ports.gone(listener("::", 3000).key);
  judge(0);
  EXPECT_THAT(ids(), ElementsAre("tcp:3000 gone"));
}

TEST_F(GuestPortsTest, AGraceBeginsOnceAndEnds) {
  ports.heard(listener("127.0.0.1", 3000));
  judge(0);
  EXPECT_FALSE(ports.next_end());
  ports.gone(listener("127.0.0.1", 3000).key);
  judge(1 * second);
  EXPECT_EQ(ports.next_end(), 1 * second + GuestPorts::grace);
  judge(3 * second);
  EXPECT_EQ(ports.next_end(), 1 * second + GuestPorts::grace) << "it does not begin anew";
  EXPECT_THAT(ports.listening(), IsEmpty());
  judge(1 * second + GuestPorts::grace - 1);
  EXPECT_THAT(ids(), ElementsAre("tcp:localhost=3000 gone"));
  judge(1 * second + GuestPorts::grace);
  EXPECT_THAT(ids(), IsEmpty());
}

TEST_F(GuestPortsTest, ComingBackEndsTheGrace) {
  ports.heard(listener("127.0.0.1", 3000));
  judge(0);
  ports.gone(listener("127.0.0.1", 3000).key);
  judge(1 * second);
  ports.heard(listener("127.0.0.1", 3000));
  judge(2 * second);
  EXPECT_THAT(ids(), ElementsAre("tcp:localhost=3000"));
  EXPECT_FALSE(ports.next_end());
}

TEST_F(GuestPortsTest, WhatIsNotForwardedHasNoGrace) {
  definition->rules.push_back({.action = RuleAction::block});
  ports.heard(listener("127.0.0.1", 3000));
  judge(0);
  EXPECT_THAT(ids(), ElementsAre("tcp:localhost=3000 blocked"));
  ports.gone(listener("127.0.0.1", 3000).key);
  judge(0);
  EXPECT_THAT(ids(), IsEmpty());
}

TEST_F(GuestPortsTest, ABlockEndsAGrace) {
  ports.heard(listener("127.0.0.1", 3000));
  judge(0);
  ports.gone(listener("127.0.0.1", 3000).key);
  judge(0);
  definition->rules.push_back({.action = RuleAction::block});
  judge(0);
  EXPECT_THAT(ids(), IsEmpty());
}

TEST_F(GuestPortsTest, TheFirstToAppearAreForwarded) {
  policy.automatic_ports_per_domain = 1;
  ports.heard(listener("127.0.0.1", 3000));
  judge(0);
  ports.heard(listener("127.0.0.1", 2000));
  judge(0);
  EXPECT_THAT(ids(), ElementsAre("tcp:localhost=2000 denied", "tcp:localhost=3000"));
  EXPECT_THAT(ports.entries().at("tcp:localhost=2000").decision.reason,
              HasSubstr("automatic-ports-per-domain"));
  ports.gone(listener("127.0.0.1", 3000).key);
  judge(0);
  judge(GuestPorts::grace);
  EXPECT_THAT(ids(), ElementsAre("tcp:localhost=2000"));
}

TEST_F(GuestPortsTest, WhatIsMissingIsAProblem) {
  EXPECT_FALSE(ports.known());
  ports.synced(0, 0);
  EXPECT_TRUE(ports.known());
  EXPECT_THAT(ports.problems(), IsEmpty());
  ports.synced(7, 3);
  EXPECT_THAT(ports.problems(), ElementsAre(HasSubstr("7 more"), HasSubstr("faster")));
  ports.clear();
  EXPECT_FALSE(ports.known());
  EXPECT_THAT(ports.problems(), IsEmpty());
}

}  // namespace
}  // namespace vf
