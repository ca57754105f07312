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
  const Outcome added = add({{"guest-port", "22"}, {"host-port", "2222"}}, {.persistent = true});
  ASSERT_FALSE(added);
  EXPECT_EQ(added.error().code, ErrorCode::invalid_argument);
  EXPECT_THAT(metadata(VIR_DOMAIN_AFFECT_LIVE), Not(HasSubstr("2222")));
  EXPECT_THAT(metadata(VIR_DOMAIN_AFFECT_CONFIG), HasSubstr("2222"));
  EXPECT_FALSE(ports.is_bound(2222));
}

}  // namespace
}  // namespace vf
