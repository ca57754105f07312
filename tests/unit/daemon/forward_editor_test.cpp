// SPDX-License-Identifier: LGPL-2.1-or-later

#include "daemon/forward_editor.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "forward_editor_lab.h"

namespace vf {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::Not;

class ForwardEditorTest : public EditorLab {};

TEST_F(ForwardEditorTest, AChangeOntoABusyPortLeavesTheForwardAsItIs) {
  begin(web_);
  ports.held_by_others = {9090};
  const Outcome changed = change("tcp:8080:80", {{"host-port", "9090"}});
  ASSERT_FALSE(changed);
  EXPECT_EQ(changed.error().code, ErrorCode::port_busy);
  EXPECT_THAT(relay.take(), IsEmpty());
  EXPECT_TRUE(ports.is_bound(8080));
  EXPECT_THAT(metadata(VIR_DOMAIN_AFFECT_LIVE), HasSubstr("8080"));
}

TEST_F(ForwardEditorTest, AChangeThatAsksToFailOnABusyPortDoesSo) {
  begin(R"(<forward guest-port="80" host-port="8080"/>)");
  ports.held_by_others = {9090};
  const Outcome changed = change("tcp:8080:80", {{"host-port", "9090"}, {"on-busy", "fail"}});
  ASSERT_FALSE(changed);
  EXPECT_EQ(changed.error().code, ErrorCode::port_busy);
  EXPECT_THAT(relay.take(), IsEmpty());
  EXPECT_TRUE(change("tcp:8080:80", {{"host-port", "9090"}})) << "may move";
  EXPECT_TRUE(ports.is_bound(9091));
}

TEST_F(ForwardEditorTest, AChangeOntoThePortOfAnotherForwardNamesIt) {
  begin(web_ + R"(<forward guest-port="22" host-port="2222"/>)");
  const Outcome changed = change("tcp:8080:80", {{"host-port", "2222"}});
  ASSERT_FALSE(changed);
  EXPECT_EQ(changed.error(),
            (Error{ErrorCode::port_busy,
                   R"(port 2222 is held by the forward "tcp:2222:22" of domain "test")"}));
  EXPECT_THAT(relay.take(), IsEmpty());
}

TEST_F(ForwardEditorTest, ItsOwnPortIsNoObstacleToAChange) {
  begin(R"(<forward guest-port="80" host-port="8080"/>)"
        R"(<forward guest-port="5000-5001" host-port="9000-9001" on-busy="fail"/>)");
  EXPECT_TRUE(change("tcp:8080:80", {{"guest-port", "81"}, {"on-busy", "fail"}}));
  EXPECT_TRUE(ports.is_bound(8080));
  EXPECT_TRUE(change("tcp:9000-9001:5000-5001", {{"host-port", "9001-9002"}}));
  EXPECT_TRUE(ports.is_bound(9002));
  EXPECT_FALSE(ports.is_bound(9000));
}

TEST_F(ForwardEditorTest, APortThatItHasMovedAwayFromIsBusy) {
  ports.held_by_others = {8080};
  begin(R"(<forward guest-port="80" host-port="8080"/>)");
  const Outcome changed = change("tcp:8080:80", {{"on-busy", "fail"}});
  ASSERT_FALSE(changed);
  EXPECT_EQ(changed.error().code, ErrorCode::port_busy);
  EXPECT_TRUE(ports.is_bound(8081));
}

TEST_F(ForwardEditorTest, WhatIsAskedForInVainAlreadyIsNoObstacleToAChange) {
  ports.held_by_others = {8080};
  begin(web_);
  EXPECT_TRUE(change("tcp:8080:80", {{"label", "shop"}}));
  EXPECT_THAT(metadata(VIR_DOMAIN_AFFECT_LIVE), HasSubstr("shop"));
  EXPECT_TRUE(change("tcp:8080:80", {{"enabled", "no"}}));
  EXPECT_EQ(change("tcp:8080:80", {{"enabled", "yes"}}).error().code, ErrorCode::port_busy);
}

// The metadata of the next start, which the daemon has not read yet, does not have it any more.
TEST_F(ForwardEditorTest, AChangeOfWhichOneSideFailsIsTakenBack) {
  begin(R"(<forward guest-port="80" host-port="8080" label="shop"/>)");
  set(R"(<forward guest-port="22"/>)", VIR_DOMAIN_AFFECT_CONFIG);
  const Outcome changed =
      change("tcp:8080:80", {{"host-port", "9090"}, {"label", ""}, {"on-busy", "any"}},
             {.persistent = true});
  ASSERT_FALSE(changed);
  EXPECT_EQ(changed.error().code, ErrorCode::no_such_forward);
  const std::string live = metadata(VIR_DOMAIN_AFFECT_LIVE);
  EXPECT_THAT(live, HasSubstr(R"(host-port="8080")"));
  EXPECT_THAT(live, HasSubstr(R"(label="shop")"));
  EXPECT_THAT(live, Not(HasSubstr("on-busy")));
  EXPECT_TRUE(ports.is_bound(8080));
  EXPECT_FALSE(ports.is_bound(9090));
}

TEST_F(ForwardEditorTest, AnAdditionOfWhichOneSideFailsIsTakenBackBeforeItIsAnswered) {
  begin(web_);
  set(web_ + R"(<forward guest-port="22" host-port="2222"/>)", VIR_DOMAIN_AFFECT_CONFIG);
  const auto added = add({{{"guest-port", "22"}, {"host-port", "2222"}}}, {.persistent = true});
  ASSERT_FALSE(added);
  EXPECT_EQ(added.error().code, ErrorCode::invalid_argument);
  EXPECT_THAT(metadata(VIR_DOMAIN_AFFECT_LIVE), Not(HasSubstr("2222")));
  EXPECT_THAT(metadata(VIR_DOMAIN_AFFECT_CONFIG), HasSubstr("2222"));
  EXPECT_FALSE(ports.is_bound(2222));
}

// Until the relay has said what it holds nothing can be bound.
TEST_F(ForwardEditorTest, AnAdditionWaitsForTheFirstAnswerOfTheRelay) {
  relay.is_ready = false;
  begin(web_);
  std::optional<Result<Controller::Added>> outcome;
  editor.add_forwards(uuid, {{{"guest-port", "81"}, {"host-port", "8081"}}}, {},
                      [&](auto done) { outcome = std::move(done); });
  EXPECT_FALSE(outcome);
  relay.is_ready = true;
  reconciler.relay_ready({});
  EXPECT_TRUE(wait(outcome));
}

TEST_F(ForwardEditorTest, ManyAreAddedAtOnce) {
  begin(web_);
  const auto added = add({{{"guest-port", "22"}, {"host-port", "2222"}},
                          {{"guest-port", "5000-5001"}, {"name", "games"}}},
                         {.persistent = true});
  ASSERT_TRUE(added) << added.error().message;
  ASSERT_EQ(added->size(), 2u);
  ASSERT_EQ(added->front().size(), 1u);
  EXPECT_EQ(added->front().front().host_port->number(), 2222u);
  EXPECT_EQ(added->back().size(), 2u);
  EXPECT_TRUE(ports.is_bound(2222));
  for (const unsigned side : {VIR_DOMAIN_AFFECT_LIVE, VIR_DOMAIN_AFFECT_CONFIG})
    EXPECT_EQ(parse_definitions(metadata(side)).definitions.forwards.size(), 3u);
  EXPECT_EQ(add({})->size(), 0u);
}

TEST_F(ForwardEditorTest, OfManyWithOneThatCannotBeHadThereIsNone) {
  begin(web_);
  ports.held_by_others = {9090};
  const auto refused = [&](const std::vector<ForwardAttributes>& forwards) {
    for (const EditScope scope : {EditScope{}, EditScope{.persistent = true}}) {
      const auto added = add(forwards, scope);
      if (added) return std::string("added");
      EXPECT_EQ(parse_definitions(metadata(VIR_DOMAIN_AFFECT_LIVE)).definitions.forwards.size(),
                1u);
      EXPECT_EQ(parse_definitions(metadata(VIR_DOMAIN_AFFECT_CONFIG)).definitions.forwards.size(),
                1u);
      EXPECT_FALSE(ports.is_bound(2222));
      EXPECT_EQ(table.forwards(uuid).size(), 1u);
      if (scope.persistent) return added.error().message;
    }
    return std::string();
  };
  const ForwardAttributes fine{{"guest-port", "22"}, {"host-port", "2222"}};
  EXPECT_EQ(refused({fine, {{"guest-port", "23"}, {"host-port", "9090"}, {"on-busy", "fail"}}}),
            "entry 2: 9090 is in use");
  EXPECT_THAT(refused({fine, {{"guest-port", "80"}, {"host-port", "8080"}}}),
              HasSubstr("entry 2: domain \"test\" already has the forward \"tcp:8080:80\""));
  EXPECT_THAT(refused({fine, {{"guest-port", "0"}}}), HasSubstr("entry 2: "));
  EXPECT_THAT(refused({fine, {{"guest-port", "81"}}, fine}),
              HasSubstr("entry 3: there is a forward \"tcp:2222:22\" already, among these"));
  EXPECT_THAT(refused({fine, {{"guest-port", "81"}, {"host-address", "0.0.0.0"}}}),
              HasSubstr("entry 2: "));
}

TEST_F(ForwardEditorTest, OfTwoThatWantOnePortTheOtherIsNamed) {
  begin(web_);
  const auto wants = [](const char* guest, const char* port) {
    return ForwardAttributes{{"guest-port", guest}, {"host-port", port}};
  };
  const auto exactly = [](ForwardAttributes one) {
    one.emplace_back("on-busy", "fail");
    return one;
  };
  const auto refused = [&](const std::vector<ForwardAttributes>& forwards) {
    const auto added = add(forwards);
    return added ? Error{} : added.error();
  };
  EXPECT_EQ(refused({wants("22", "2222"), exactly(wants("23", "2222"))}),
            (Error{ErrorCode::port_busy,
                   "entry 2: port 2222 is held by the forward "
                   "\"tcp:2222:22\", which is to be added with it"}));
  ports.held_by_others = {2222};
  EXPECT_THAT(refused({wants("22", "2222"), exactly(wants("23", "2223"))}).message,
              HasSubstr("2223 is held by the forward \"tcp:2222:22\", which"))
      << "that moves there";
  ForwardAttributes datagrams = exactly(wants("23", "2223"));
  datagrams.emplace_back("protocol", "udp");
  EXPECT_TRUE(add({wants("22", "2222"), datagrams})) << "another port";
}

TEST_F(ForwardEditorTest, MoreThanTheHostAllowsAreRefusedBeforeAnyIsBound) {
  begin(web_);
  std::vector<ForwardAttributes> many;
  for (unsigned port = 1; port <= 1024; ++port)
    many.push_back({{"guest-port", std::to_string(port)}, {"name", std::to_string(port)}});
  for (const EditScope scope : {EditScope{.live = true}, EditScope{.config = true}}) {
    const auto added = add(many, scope);
    ASSERT_FALSE(added);
    EXPECT_EQ(added.error().code, ErrorCode::not_allowed);
    EXPECT_THAT(added.error().message,
                HasSubstr("entry 1024: more than 1024 forwards in one domain"));
    EXPECT_FALSE(ports.is_bound(40000));
    EXPECT_THAT(relay.take(), IsEmpty());
  }
  many.pop_back();
  EXPECT_TRUE(add(many));
}

TEST_F(ForwardEditorTest, TriedOutNoTwoGetTheSamePort) {
  begin(web_);
  std::optional<Result<Controller::Added>> outcome;
  const ForwardAttributes one{{"guest-port", "22"}, {"host-port", "2222"}};
  editor.try_forwards(uuid, {one, {{"guest-port", "23"}, {"host-port", "2222"}}}, {},
                      [&](auto done) { outcome = std::move(done); });
  const auto tried = wait(outcome);
  ASSERT_TRUE(tried) << tried.error().message;
  EXPECT_EQ(tried->back().front().host_port->number(), 2223u);
  EXPECT_FALSE(ports.is_bound(2222));
  EXPECT_THAT(metadata(VIR_DOMAIN_AFFECT_LIVE), Not(HasSubstr("2222")));
}

}  // namespace
}  // namespace vf
