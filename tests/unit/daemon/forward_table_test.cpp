// SPDX-License-Identifier: LGPL-2.1-or-later

#include "daemon/forward_table.h"

#include <gtest/gtest.h>

#include <algorithm>

namespace vf {
namespace {

class Recorder : public Model::Observer {
 public:
  std::vector<std::string> events;

  void domain_added(const DomainView& domain) override { note("+domain", domain.name); }
  void domain_changed(const DomainView& domain) override { note("~domain", domain.name); }
  void domain_removed(const DomainView& domain) override { note("-domain", domain.name); }
  void forward_added(const ForwardView& forward) override { note("+", forward.id); }
  void forward_changed(const ForwardView& forward) override { note("~", forward.id); }
  void forward_removed(const ForwardView& forward) override { note("-", forward.id); }
  void port_added(const PortView& port) override { note("+port", port.id); }
  void port_changed(const PortView& port) override { note("~port", port.id); }
  void port_removed(const PortView& port) override { note("-port", port.id); }
  void daemon_changed() override { note("daemon", ""); }

  std::vector<std::string> take() { return std::exchange(events, {}); }

 private:
  void note(const std::string& what, const std::string& which) { events.push_back(what + which); }
};

using Events = std::vector<std::string>;

class Table : public testing::Test {
 protected:
  Table() { table.observe(&recorder); }

  ForwardView forward(const std::string& id, ForwardState state = ForwardState::active) {
    ForwardView view;
    view.domain = "web";
    view.uuid = "u";
    view.id = id;
    view.state = state;
    return view;
  }

  DomainView web{"u", "web", 1, true, true, {}};
  ForwardTable table{"test:///default"};
  Recorder recorder;
};

TEST_F(Table, TheDomainComesBeforeItsForwardsAndGoesAfterThem) {
  table.set_domain(web, {forward("a"), forward("b")});
  EXPECT_EQ(recorder.take(), (Events{"+domainweb", "+a", "+b"}));
  table.remove_domain("u");
  EXPECT_EQ(recorder.take(), (Events{"-a", "-b", "-domainweb"}));
  EXPECT_FALSE(table.domain("u"));
}

TEST_F(Table, APortComesBehindItsForwardAndGoesBeforeIt) {
  PortView port;
  port.uuid = "u";
  port.id = "p";
  table.set_domain(web, {forward("a")}, {port});
  EXPECT_EQ(recorder.take(), (Events{"+domainweb", "+a", "+portp"}));
  EXPECT_EQ(table.ports("u").size(), 1u);
  table.set_domain(web, {forward("a")}, {port});
  EXPECT_EQ(recorder.take(), Events{});
  port.state = DetectedState::blocked;
  table.set_domain(web, {}, {port});
  EXPECT_EQ(recorder.take(), (Events{"-a", "~portp"}));
  EXPECT_EQ(table.port("u", "p")->state, DetectedState::blocked);
  table.set_domain(web, {forward("a")}, {port});
  recorder.take();
  table.remove_domain("u");
  EXPECT_EQ(recorder.take(), (Events{"-portp", "-a", "-domainweb"}));
  EXPECT_TRUE(table.ports("u").empty());
}

// Invariant 9: the same state again is no event and no log line.
TEST_F(Table, TheSameAgainIsSilent) {
  table.set_domain(web, {forward("a")});
  recorder.take();
  testing::internal::CaptureStderr();
  table.set_domain(web, {forward("a")});
  EXPECT_EQ(testing::internal::GetCapturedStderr(), "");
  EXPECT_EQ(recorder.take(), Events{});
}

TEST_F(Table, OnlyWhatDiffersIsTold) {
  table.set_domain(web, {forward("a"), forward("b")});
  recorder.take();
  table.set_domain(web, {forward("a", ForwardState::waiting), forward("c")});
  EXPECT_EQ(recorder.take(), (Events{"-b", "~a", "+c"}));
}

TEST_F(Table, AForwardsLifeReadsAsOneStory) {
  testing::internal::CaptureStderr();
  ForwardView view = forward("tcp:8080:80", ForwardState::waiting);
  view.reason = "no address of the guest has been seen yet";
  view.host_addresses = {IpAddress::loopback4()};
  view.host_port = Port::from(8080);
  view.guest_port = Port::from(80);
  table.set_domain(web, {view});
  view.state = ForwardState::active;
  view.reason.clear();
  view.guest_address = IpAddress::parse("192.0.2.7");
  view.transport = Transport::tcp;
  table.set_domain(web, {view});
  table.set_domain(web, {});
  EXPECT_EQ(testing::internal::GetCapturedStderr(),
            "virt-forwardd: forward waiting domain=web forward=tcp:8080:80 host=127.0.0.1:8080 "
            "guest=80 reason=\"no address of the guest has been seen yet\"\n"
            "virt-forwardd: forward active domain=web forward=tcp:8080:80 host=127.0.0.1:8080 "
            "guest=192.0.2.7:80 transport=tcp\n"
            "virt-forwardd: forward removed domain=web forward=tcp:8080:80 host=127.0.0.1:8080 "
            "guest=192.0.2.7:80 transport=tcp\n");
}

TEST_F(Table, WhatAStoppedDomainHasDisabledIsNoNews) {
  testing::internal::CaptureStderr();
  ForwardView view = forward("a", ForwardState::disabled);
  view.live = false;
  table.set_domain(web, {view});
  EXPECT_EQ(testing::internal::GetCapturedStderr(), "");
  testing::internal::CaptureStderr();
  view.live = true;
  table.set_domain(web, {view});
  EXPECT_NE(testing::internal::GetCapturedStderr().find("forward disabled"), std::string::npos);
}

// Invariant 4: a guest that flaps does not fill the log.
TEST_F(Table, TheLogIsBounded) {
  testing::internal::CaptureStderr();
  for (int turn = 0; turn < 5000; ++turn)
    table.set_domain(web, {forward("a", turn % 2 ? ForwardState::active : ForwardState::failed)});
  const std::string log = testing::internal::GetCapturedStderr();
  // Two windows at most, should a minute end within the loop.
  EXPECT_LE(std::count(log.begin(), log.end(), '\n'), 2 * 241);
  EXPECT_NE(log.find("too many changes"), std::string::npos);
}

TEST_F(Table, HostileNamesCannotForgeALine) {
  testing::internal::CaptureStderr();
  ForwardView view = forward("a");
  view.domain = "x\n\033[2Jforward removed domain=\"y";
  table.set_domain(web, {view});
  const std::string log = testing::internal::GetCapturedStderr();
  EXPECT_EQ(std::count(log.begin(), log.end(), '\n'), 1);
  EXPECT_EQ(log.find('\033'), std::string::npos);
  EXPECT_NE(log.find("\\x0a\\x1b[2Jforward removed domain=\\\"y"), std::string::npos);
}

}  // namespace
}  // namespace vf
