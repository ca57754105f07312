// SPDX-License-Identifier: LGPL-2.1-or-later
//
// Edits against libvirt's test driver, which lives in this process. Another connection to
// test:///default shares its domains and plays virsh.

#include "daemon/forward_editor.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "bus_lab.h"
#include "plugin/libvirt_handles.h"
#include "reconciler_fakes.h"

namespace vf {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::Not;

constexpr const char* uri = "urn:virt-forward:1";

class ForwardEditorTest : public testing::Test {
 protected:
  using Outcome = Result<std::vector<ForwardView>>;

  ForwardEditorTest() {
    reconciler.use_relay(relay);
    other = share_connect(virConnectOpen("test:///default"));
    domain.reset(virDomainLookupByName(other.get(), "test"));
    uuid = uuid_of(domain.get());
  }
  ~ForwardEditorTest() override {
    host.reset();
    for (const unsigned side : {VIR_DOMAIN_AFFECT_LIVE, VIR_DOMAIN_AFFECT_CONFIG})
      set({}, side);
  }

  // The domain runs with these forwards, and so does its next start.
  void begin(const std::string& content) {
    for (const unsigned side : {VIR_DOMAIN_AFFECT_LIVE, VIR_DOMAIN_AFFECT_CONFIG})
      set(content, side);
    host->start();
    ASSERT_TRUE(iterate_until([&] { return !table.forwards(uuid).empty(); }));
    relay.take();
  }
  void set(const std::string& content, unsigned side) {
    const std::string element = "<forwards>" + content + "</forwards>";
    ASSERT_EQ(virDomainSetMetadata(domain.get(), VIR_DOMAIN_METADATA_ELEMENT,
                                   content.empty() ? nullptr : element.c_str(), "vf", uri, side),
              0);
  }
  std::string metadata(unsigned side) {
    const LibvirtText text(
        virDomainGetMetadata(domain.get(), VIR_DOMAIN_METADATA_ELEMENT, uri, side));
    return text ? text.get() : "";
  }

  Outcome wait(const std::optional<Outcome>& outcome) {
    EXPECT_TRUE(iterate_until([&] { return outcome.has_value(); }));
    return outcome ? *outcome : Outcome(Unexpected(ErrorCode::failed, "no answer"));
  }
  Outcome change(const std::string& forward, const ForwardAttributes& attributes,
                 EditScope scope = {}) {
    std::optional<Outcome> outcome;
    editor.change_forward(uuid, forward, attributes, scope,
                          [&](Outcome done) { outcome = std::move(done); });
    return wait(outcome);
  }
  Outcome add(const ForwardAttributes& attributes, EditScope scope = {}) {
    std::optional<Outcome> outcome;
    editor.add_forward(uuid, attributes, scope, [&](Outcome done) { outcome = std::move(done); });
    return wait(outcome);
  }

  const std::string web_ = R"(<forward guest-port="80" host-port="8080" on-busy="fail"/>)";

  FakePorts ports;
  FakeRelay relay;
  PortHints hints{"/nonexistent/ports"};
  ForwardTable table{"test:///default"};
  Reconciler reconciler{Policy{}, ports, hints, table};
  std::unique_ptr<LibvirtHost> host = std::make_unique<LibvirtHost>("test:///default", reconciler);
  ForwardEditor editor{reconciler, table, *host, relay};
  ConnectHandle other;
  DomainHandle domain;
  std::string uuid;
};

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
