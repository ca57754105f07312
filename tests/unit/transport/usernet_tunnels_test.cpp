// SPDX-License-Identifier: LGPL-2.1-or-later

#include "transport/usernet_tunnels.h"

#include <glib.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <deque>

#include "fake_qemu.h"

namespace vf {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::StartsWith;

constexpr const char* uuid = "b2f3a7de-5d4c-4c67-9f4a-0d9e8c7b6a51";

class UsernetTunnelsTest : public testing::Test, public TunnelLayer::Observer {
 protected:
  using Done = std::function<void(Result<std::string>)>;

  UsernetTunnelsTest() { restart(); }

  // As a daemon's restart does.
  void restart() {
    pending.clear();
    layer = std::make_unique<UsernetTunnels>(
        UsernetTunnels::Outside{[this](const std::string&, std::string command, Done done) {
                                  asked.push_back(command);
                                  pending.emplace_back(std::move(command), std::move(done));
                                },
                                [this](Protocol protocol, const Endpoint& end) {
                                  const std::string name =
                                      std::string(text(protocol)) + ':' + end.text();
                                  if (occupied.contains(name)) return false;
                                  return elsewhere ||
                                         std::ranges::none_of(qemu.rules, [&](const auto& rule) {
                                           return rule.first.second == name;
                                         });
                                },
                                [this] { return left_over; }},
        *this);
  }

  void tunnels_changed(Transport kind, const std::string& whose) override {
    EXPECT_EQ(kind, Transport::usernet);
    EXPECT_FALSE(inside);
    told.push_back(whose);
  }

  void order(TunnelOrder wanted) {
    inside = true;
    layer->order(std::move(wanted));
    inside = false;
  }

  // One answer of QEMU's, or of libvirt's in its place.
  void answer(std::optional<Error> error = {}) {
    ASSERT_FALSE(pending.empty());
    const auto [command, done] = std::move(pending.front());
    pending.pop_front();
    if (error)
      done(Unexpected(*error));
    else
      done(qemu.run(command));
  }
  void settle() {
    for (int i = 0; i < 10'000 && !pending.empty(); ++i)
      answer();
    while (g_main_context_iteration(nullptr, FALSE)) {
    }
  }
  void wait_for_question() {
    const gint64 end = g_get_monotonic_time() + 10 * G_USEC_PER_SEC;
    while (pending.empty() && g_get_monotonic_time() < end)
      g_main_context_iteration(nullptr, TRUE);
    ASSERT_FALSE(pending.empty());
  }

  static TunnelTarget target(unsigned port, Protocol protocol = Protocol::tcp,
                             const char* address = nullptr) {
    TunnelTarget one;
    one.protocol = protocol;
    one.port = *Port::from(port);
    if (address) one.address = IpAddress::parse(address);
    return one;
  }
  static TunnelOrder wanted(std::set<TunnelTarget> targets, int run = 3) {
    TunnelOrder one;
    one.uuid = uuid;
    one.run = run;
    one.user_nets = {"net0"};
    one.targets = std::move(targets);
    return one;
  }
  // "127.64.1.2:61000", or the reason why not.
  std::string end_of(const TunnelTarget& one) const {
    const TunnelEnds ends = layer->ends(uuid);
    const auto found = ends.find(one);
    if (found == ends.end()) return "unknown";
    return found->second ? text(*found->second) : found->second.error().message;
  }
  // The guest's side of the rule behind the target's end.
  std::string rule_of(const TunnelTarget& one, const std::string& netdev = "hostnet0") const {
    const auto found =
        qemu.rules.find({netdev, std::string(text(one.protocol)) + ':' + end_of(one)});
    return found == qemu.rules.end() ? "none" : found->second;
  }

  FakeQemu qemu;
  std::deque<std::pair<std::string, Done>> pending;
  std::vector<std::string> asked;
  std::vector<std::string> told;
  std::set<std::string> occupied;
  std::set<IpAddress> left_over;
  bool elsewhere = false;
  bool inside = false;
  std::unique_ptr<UsernetTunnels> layer;
};

TEST_F(UsernetTunnelsTest, LaysEachTargetOnAHiddenPort) {
  const auto web = target(80), dns = target(53, Protocol::udp),
             other = target(80, Protocol::tcp, "10.0.2.99");
  order(wanted({web, dns, other}));
  EXPECT_THAT(end_of(web), HasSubstr("being asked"));
  settle();
  EXPECT_EQ(rule_of(web), "10.0.2.15:80");
  EXPECT_EQ(rule_of(dns), "10.0.2.15:53");
  EXPECT_EQ(rule_of(other), "10.0.2.99:80");
  EXPECT_EQ(qemu.rules.size(), 3u);
  EXPECT_THAT(asked, ElementsAre("info usernet", StartsWith("hostfwd_add"),
                                 StartsWith("hostfwd_add"), StartsWith("hostfwd_add")));
  for (const auto& [key, value] : qemu.rules) {
    const std::string address = key.second.substr(4, key.second.rfind(':') - 4);
    EXPECT_TRUE(is_hidden_address(*IpAddress::parse(address))) << address;
  }
  EXPECT_FALSE(told.empty());
}

TEST_F(UsernetTunnelsTest, TheSameOrderAgainChangesNothing) {
  order(wanted({target(80)}));
  settle();
  const auto before = asked.size();
  told.clear();
  order(wanted({target(80)}));
  settle();
  EXPECT_EQ(asked.size(), before);
  EXPECT_THAT(told, IsEmpty());
}

TEST_F(UsernetTunnelsTest, WhatStaysCarriesOn) {
  order(wanted({target(80), target(81)}));
  settle();
  const std::string end = end_of(target(81));
  order(wanted({target(81), target(82)}));
  settle();
  EXPECT_EQ(end_of(target(81)), end);
  EXPECT_EQ(end_of(target(80)), "unknown");
  EXPECT_EQ(rule_of(target(82)), "10.0.2.15:82");
  EXPECT_EQ(qemu.rules.size(), 2u);
  order(wanted({}));
  settle();
  EXPECT_THAT(qemu.rules, IsEmpty());
}

TEST_F(UsernetTunnelsTest, ForgettingTakesEverythingAway) {
  order(wanted({target(80), target(81)}));
  settle();
  layer->forget(uuid);
  EXPECT_THAT(layer->ends(uuid), IsEmpty());
  told.clear();
  settle();
  EXPECT_THAT(qemu.rules, IsEmpty());
  EXPECT_THAT(told, IsEmpty());
}

// QEMU had been told before the order was taken back.
TEST_F(UsernetTunnelsTest, WhatIsUnderWayWhenItIsForgottenGoesToo) {
  order(wanted({target(80)}));
  answer();  // survey
  layer->forget(uuid);
  settle();
  EXPECT_THAT(qemu.rules, IsEmpty());
  order(wanted({target(80)}));
  answer();
  answer();
  EXPECT_EQ(qemu.rules.size(), 1u);
}

TEST_F(UsernetTunnelsTest, AStoppedDomainIsNotAskedForEver) {
  order(wanted({target(80), target(81)}));
  settle();
  asked.clear();
  layer->forget(uuid);
  answer(Error{ErrorCode::failed, "domain is not running"});
  settle();
  EXPECT_EQ(asked.size(), 1u);

  restart();
  left_over = {hidden_address(uuid, 3, false)};
  asked.clear();
  order(wanted({}));
  for (int i = 0; i < 3; ++i) {
    if (i > 0) layer->forget(uuid);
    if (!pending.empty()) answer(Error{ErrorCode::failed, "domain is not running"});
  }
  EXPECT_EQ(asked.size(), 2u);
  EXPECT_THAT(pending, IsEmpty());
}

// A forgotten domain that is back in the same run: libvirt was away.
TEST_F(UsernetTunnelsTest, WantedAgainWhileItIsTakenAway) {
  order(wanted({target(80), target(81)}));
  settle();
  layer->forget(uuid);
  order(wanted({target(80), target(81)}));
  settle();
  EXPECT_EQ(rule_of(target(80)), "10.0.2.15:80");
  EXPECT_EQ(rule_of(target(81)), "10.0.2.15:81");
}

TEST_F(UsernetTunnelsTest, AnotherRunIsAnotherQemu) {
  order(wanted({target(80)}));
  settle();
  const std::string before = end_of(target(80));
  qemu.rules.clear();
  order(wanted({target(80)}, 4));
  EXPECT_THAT(end_of(target(80)), HasSubstr("being asked"));
  settle();
  EXPECT_EQ(rule_of(target(80)), "10.0.2.15:80");
  EXPECT_NE(end_of(target(80)), before);
}

// It comes from the QEMU before.
TEST_F(UsernetTunnelsTest, AnAnswerOfTheRunBeforeComesToNothing) {
  order(wanted({target(80)}));
  order(wanted({target(80)}, 4));
  const auto [command, done] = std::move(pending.front());
  pending.pop_front();
  done(std::string("Hub -1 (hostnet0):\r\n TCP[HOST_FORWARD] 1 ") +
       hidden_address(uuid, 4, false).text() + " 61000 10.0.2.15 80 0 0\r\n");
  EXPECT_THAT(end_of(target(80)), HasSubstr("being asked"));
  settle();
  EXPECT_EQ(rule_of(target(80)), "10.0.2.15:80");
}

TEST_F(UsernetTunnelsTest, TheNextDaemonAdoptsWhatIsThere) {
  const std::set<TunnelTarget> targets{target(80), target(53, Protocol::udp),
                                       target(80, Protocol::tcp, "10.0.2.15")};
  order(wanted(targets));
  settle();
  const auto rules = qemu.rules;
  const auto ends = end_of(target(80)) + end_of(target(80, Protocol::tcp, "10.0.2.15"));
  qemu.rules[{"hostnet0", "tcp:127.0.0.1:8080"}] = "10.0.2.15:80";  // the user's own
  restart();
  asked.clear();
  order(wanted(targets));
  settle();
  EXPECT_THAT(asked, ElementsAre("info usernet"));
  EXPECT_EQ(end_of(target(80)) + end_of(target(80, Protocol::tcp, "10.0.2.15")), ends);
  layer->forget(uuid);
  settle();
  EXPECT_EQ(qemu.rules.size(), 1u);
}

TEST_F(UsernetTunnelsTest, TheNextDaemonRemovesWhatNobodyWantsAnyMore) {
  order(wanted({target(80), target(81)}));
  settle();
  const std::string end = end_of(target(81));
  restart();
  order(wanted({target(81)}));
  settle();
  EXPECT_EQ(end_of(target(81)), end);
  EXPECT_EQ(qemu.rules.size(), 1u);

  restart();
  left_over = {hidden_address(uuid, 3, false)};
  order(wanted({}));
  settle();
  EXPECT_THAT(qemu.rules, IsEmpty());
}

// Asking would taint the domain.
TEST_F(UsernetTunnelsTest, ADomainOfWhichNothingIsWantedIsNotAsked) {
  order(wanted({}));
  layer->check(uuid);
  order(wanted({TunnelTarget{.path = "/run/db.sock"}}));
  layer->forget(uuid);
  settle();
  EXPECT_THAT(asked, IsEmpty());
}

TEST_F(UsernetTunnelsTest, ARuleThatGotLostIsFoundByACheck) {
  order(wanted({target(80), target(81)}));
  settle();
  const std::string end = end_of(target(81));
  qemu.rules.erase({"hostnet0", "tcp:" + end_of(target(80))});
  layer->check(uuid);
  EXPECT_EQ(end_of(target(81)), end);
  settle();
  EXPECT_EQ(rule_of(target(80)), "10.0.2.15:80");
  EXPECT_EQ(end_of(target(81)), end);
}

// The survey that is under way may have been answered before the rule got lost.
TEST_F(UsernetTunnelsTest, ACheckDuringASurveyIsAnotherSurvey) {
  order(wanted({target(80)}));
  settle();
  asked.clear();
  layer->check(uuid);
  layer->check(uuid);
  settle();
  EXPECT_THAT(asked, ElementsAre("info usernet", "info usernet"));
}

TEST_F(UsernetTunnelsTest, TakesAnotherPortWhereOneIsTaken) {
  const std::string address = hidden_address(uuid, 3, false).text();
  occupied = {"tcp:" + address + ":61000"};
  qemu.taken = {"tcp:" + address + ":61001", "tcp:" + address + ":61002"};
  order(wanted({target(80)}));
  settle();
  EXPECT_EQ(end_of(target(80)), address + ":61003");
  EXPECT_EQ(rule_of(target(80)), "10.0.2.15:80");
}

TEST_F(UsernetTunnelsTest, GivesUpForAWhileWhereQemuCannotListen) {
  for (int port = 61000; port < 61010; ++port)
    qemu.taken.insert("tcp:" + hidden_address(uuid, 3, false).text() + ':' + std::to_string(port));
  order(wanted({target(80)}));
  settle();
  EXPECT_THAT(end_of(target(80)), HasSubstr("cannot listen"));
  EXPECT_LT(asked.size(), 12u);
  qemu.taken.clear();
  wait_for_question();
  settle();
  EXPECT_EQ(rule_of(target(80)), "10.0.2.15:80");
}

TEST_F(UsernetTunnelsTest, LibvirtsErrorIsTheReasonUntilItWorks) {
  order(wanted({target(80)}));
  answer(Error{ErrorCode::failed, "libvirt is away"});
  EXPECT_EQ(end_of(target(80)), "libvirt is away");
  order(wanted({target(80)}));
  EXPECT_THAT(pending, IsEmpty());
  wait_for_question();
  EXPECT_EQ(asked.back(), "info usernet");
  settle();
  EXPECT_EQ(rule_of(target(80)), "10.0.2.15:80");
}

// Nobody knows whether QEMU did it.
TEST_F(UsernetTunnelsTest, AfterAnErrorItLooksBeforeItAddsAgain) {
  order(wanted({target(80)}));
  answer();
  qemu.run(pending.front().first);
  answer(Error{ErrorCode::failed, "the connection broke"});
  wait_for_question();
  settle();
  EXPECT_EQ(asked.back(), "info usernet");
  EXPECT_EQ(rule_of(target(80)), "10.0.2.15:80");
  EXPECT_EQ(qemu.rules.size(), 1u);
}

TEST_F(UsernetTunnelsTest, AnInterfaceThatGoesTakesItsRulesWithIt) {
  TunnelOrder both = wanted({target(80)});
  both.user_nets = {"net0", "net1"};
  order(both);
  settle();
  EXPECT_EQ(rule_of(target(80)), "10.0.2.15:80");
  qemu.netdevs = {"hostnet1"};
  qemu.rules.clear();
  both.user_nets = {"net1"};
  order(both);
  settle();
  EXPECT_EQ(rule_of(target(80), "hostnet1"), "10.0.2.15:80");
  both.user_nets.clear();
  order(both);
  EXPECT_THAT(end_of(target(80)), HasSubstr("no interface of type 'user'"));
}

// While QEMU has it still.
TEST_F(UsernetTunnelsTest, AnInterfaceThatIsOrderedNoLongerIsLeft) {
  order(wanted({target(80)}));
  settle();
  TunnelOrder other = wanted({target(80)});
  other.user_nets = {"net1"};
  order(other);
  settle();
  EXPECT_EQ(rule_of(target(80), "hostnet1"), "10.0.2.15:80");
  EXPECT_EQ(qemu.rules.size(), 1u);
}

// Gone and back under the same alias before anything could be done about it.
TEST_F(UsernetTunnelsTest, AnInterfaceThatIsBackHasNoRules) {
  order(wanted({target(80)}));
  settle();
  TunnelOrder both = wanted({target(80), target(81)}), none = both;
  none.user_nets.clear();
  order(both);
  ASSERT_EQ(pending.size(), 1u);
  qemu.rules.clear();
  order(none);
  order(both);
  settle();
  EXPECT_EQ(rule_of(target(80)), "10.0.2.15:80");
  EXPECT_EQ(rule_of(target(81)), "10.0.2.15:81");
}

// The order has not caught up with the unplugging.
TEST_F(UsernetTunnelsTest, AnInterfaceThatQemuDoesNotKnowIsPassedOver) {
  TunnelOrder both = wanted({target(80)});
  both.user_nets = {"net0", "net1"};
  qemu.netdevs = {"hostnet1"};
  order(both);
  settle();
  EXPECT_EQ(rule_of(target(80), "hostnet1"), "10.0.2.15:80");
  qemu.netdevs.clear();
  qemu.rules.clear();
  layer->check(uuid);
  settle();
  EXPECT_THAT(end_of(target(80)), HasSubstr("does not know"));
}

TEST_F(UsernetTunnelsTest, ADoubleRuleIsRemoved) {
  order(wanted({target(80)}));
  settle();
  qemu.rules[{"hostnet0", "tcp:" + hidden_address(uuid, 3, false).text() + ":61007"}] =
      "10.0.2.15:80";
  layer->check(uuid);
  settle();
  EXPECT_EQ(qemu.rules.size(), 1u);
  EXPECT_EQ(rule_of(target(80)), "10.0.2.15:80");
}

TEST_F(UsernetTunnelsTest, SaysWhatItCannotDo) {
  order(wanted({TunnelTarget{.path = "/run/db.sock"}, target(80, Protocol::tcp, "fec0::15"),
                target(80, Protocol::tcp, "127.0.0.1"), target(80, Protocol::tcp, "224.0.0.1")}));
  EXPECT_THAT(end_of(TunnelTarget{.path = "/run/db.sock"}), HasSubstr("not socket files"));
  EXPECT_THAT(end_of(target(80, Protocol::tcp, "fec0::15")), HasSubstr("IPv4"));
  EXPECT_THAT(end_of(target(80, Protocol::tcp, "127.0.0.1")),
              HasSubstr("does not reach 127.0.0.1"));
  EXPECT_THAT(end_of(target(80, Protocol::tcp, "224.0.0.1")), HasSubstr("does not reach"));
  TunnelOrder odd = wanted({target(80)});
  odd.user_nets = {"net0;quit"};
  order(odd);
  settle();
  EXPECT_THAT(end_of(target(80)), HasSubstr("does not know"));
  EXPECT_THAT(asked, ElementsAre("info usernet"));
}

// Where QEMU listens, nobody here can connect.
TEST_F(UsernetTunnelsTest, AQemuInAnotherNetworkNamespaceIsNamed) {
  elsewhere = true;
  order(wanted({target(80)}));
  settle();
  EXPECT_THAT(end_of(target(80)), HasSubstr("another network namespace"));
  EXPECT_EQ(asked.size(), 2u);
}

TEST_F(UsernetTunnelsTest, NothingIsToldAfterItsEnd) {
  order(wanted({target(80)}));
  answer();
  told.clear();
  layer.reset();
  settle();
  EXPECT_THAT(told, IsEmpty());
}

}  // namespace
}  // namespace vf
