// SPDX-License-Identifier: LGPL-2.1-or-later
//
// From what a guest's agent tells to forwards. The agent's socket is real, the relay is not.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdlib>

#include "base/listening_socket.h"
#include "base/socket_file.h"
#include "daemon/reconciler.h"
#include "reconciler_fakes.h"
#include "wire/guest.h"

namespace vf {
namespace {

using testing::Contains;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

constexpr const char* uuid = "web-uuid";

GuestListener listener(const char* address, unsigned port, const char* name = "server",
                       bool udp = false) {
  GuestListener one;
  one.key = {udp, *IpAddress::parse(address), *Port::from(port)};
  one.pid = 42;
  one.name = name;
  return one;
}

class ReconcilerGuests : public testing::Test {
 protected:
  ReconcilerGuests() : socket_(*SocketFile::listen(directory_ + '/' + uuid, {})) {
    reconciler.use_relay(relay);
    reconciler.use_agent_directory(directory_);
  }
  ~ReconcilerGuests() override {
    socket_.file.remove();
    rmdir(directory_.c_str());
  }

  static DomainSnapshot running(const std::string& content) {
    DomainSnapshot domain;
    domain.uuid = uuid;
    domain.name = "web";
    domain.id = 1;
    domain.active = domain.serving = true;
    domain.live_metadata = domain.config_metadata = "<forwards>" + content + "</forwards>";
    return domain;
  }

  template <typename Condition>
  static void turn_until(Condition condition) {
    const gint64 end = g_get_monotonic_time() + 30 * G_USEC_PER_SEC;
    while (!condition() && g_get_monotonic_time() < end)
      g_main_context_iteration(nullptr, TRUE);
    EXPECT_TRUE(condition());
  }
  // Long enough for what is judged after a pause; and all that is due by then is done.
  static void turn() {
    const gint64 end = g_get_monotonic_time() + 50 * 1000;
    for (bool over = false; !over;) {
      over = g_get_monotonic_time() >= end;
      while (g_main_context_iteration(nullptr, FALSE)) {
      }
      if (!over) g_usleep(1000);
    }
  }

  // A domain that runs, whose agent has said hello and listens on this.
  void begin(const std::string& content, const std::vector<GuestListener>& listeners = {}) {
    reconciler.resynced({running(content)});
    turn_until([&] { return !relay.guests.empty(); });
    reconciler.guest_up({uuid, 0, "virt-forward-guest 0.1.0"});
    tell(listeners);
  }
  void tell(const std::vector<GuestListener>& listeners) {
    for (const GuestListener& one : listeners)
      reconciler.guest_listener({uuid, one});
    reconciler.guest_synced({uuid, 0, 0});
    turn();
  }
  void goes(const GuestListener& one) {
    reconciler.guest_gone({uuid, one.key});
    reconciler.guest_synced({uuid, 0, 0});
    turn();
  }

  std::vector<std::string> ids() const {
    std::vector<std::string> list;
    for (const ForwardView& view : table.forwards(uuid))
      list.push_back(view.id);
    return list;
  }
  ForwardView view(const std::string& id) const {
    const ForwardView* found = table.forward(uuid, id);
    EXPECT_TRUE(found) << id << ", there are " << testing::PrintToString(ids());
    return found ? *found : ForwardView{};
  }
  std::string endpoints(const std::string& id) {
    std::string list;
    for (const RelayEndpoint& one : relay.forwards[std::string(uuid) + '/' + id].target.endpoints)
      list += text(one) + ';';
    return list;
  }

  const std::string directory_ = [] {
    char path[] = "/tmp/reconciler-guests-XXXXXX";
    return std::string(mkdtemp(path));
  }();
  SocketFile::Listening socket_;
  FakePorts ports;
  FakeRelay relay;
  PortHints hints{"/nonexistent/ports"};
  ForwardTable table{"test:///default"};
  Reconciler reconciler{Policy{}, ports, hints, table};
};

TEST_F(ReconcilerGuests, SlowedReportsAddUpOverRelays) {
  begin("<auto/>");
  reconciler.guest_synced({uuid, 5, 1});
  EXPECT_EQ(reconciler.guest_ports_left_out(), 5u);
  reconciler.guest_synced({uuid, 0, 11});
  EXPECT_EQ(reconciler.guest_ports_left_out(), 0u);
  EXPECT_EQ(reconciler.guest_reports_slowed(), 11u);
  reconciler.guest_synced({uuid, 0, 2});  // of another relay, which began to count
  EXPECT_EQ(reconciler.guest_reports_slowed(), 13u);
}

TEST_F(ReconcilerGuests, APortAppearsAndGoes) {
  begin("<auto/>", {listener("127.0.0.1", 3000, "devserver")});
  const ForwardView forward = view("auto:tcp:localhost=3000");
  EXPECT_EQ(forward.state, ForwardState::active);
  EXPECT_EQ(forward.origin, Origin::automatic);
  EXPECT_EQ(forward.host_port->number(), 3000);
  EXPECT_EQ(forward.transport, Transport::vsock);
  ASSERT_TRUE(forward.process);
  EXPECT_EQ(forward.process->name, "devserver");
  EXPECT_EQ(endpoints("auto:tcp:localhost=3000"), "localhost:3000 in the guest;");

  relay.take();
  goes(listener("127.0.0.1", 3000));
  EXPECT_EQ(view("auto:tcp:localhost=3000").state, ForwardState::no_listener);
  EXPECT_THAT(relay.take(), ElementsAre("-web-uuid/auto:tcp:localhost=3000 drain"));
  EXPECT_EQ(ports.paused, 2u) << "its port is kept, and refuses";
  EXPECT_TRUE(ports.is_bound(3000));

  tell({listener("127.0.0.1", 3000)});
  EXPECT_EQ(view("auto:tcp:localhost=3000").state, ForwardState::active);
  EXPECT_THAT(relay.take(), ElementsAre("+web-uuid/auto:tcp:localhost=3000"));
  EXPECT_EQ(ports.paused, 0u);
}

// Who connects in the moments before the relay lets go of it fails, and that says nothing any more.
TEST_F(ReconcilerGuests, AServiceThatComesBackIsNotHeldToFailures) {
  begin("<auto/>", {listener("127.0.0.1", 3000)});
  const std::string key = std::string(uuid) + "/auto:tcp:localhost=3000";
  reconciler.forward_failing(key, ECONNREFUSED);
  goes(listener("127.0.0.1", 3000));
  reconciler.forward_failing(key, ECONNREFUSED);
  tell({listener("127.0.0.1", 3000)});
  EXPECT_EQ(view("auto:tcp:localhost=3000").state, ForwardState::active);
}

TEST_F(ReconcilerGuests, ThePortIsGivenBackWhenTheGraceIsOver) {
  begin("<auto/>", {listener("127.0.0.1", 3000)});
  goes(listener("127.0.0.1", 3000));
  EXPECT_FALSE(ids().empty());
  turn_until([&] { return ids().empty(); });
  EXPECT_FALSE(ports.is_bound(3000));
}

TEST_F(ReconcilerGuests, APortThatWasLostInTheGraceIsReplaced) {
  begin("<auto/>", {listener("127.0.0.1", 3000)});
  goes(listener("127.0.0.1", 3000));
  ports.lost_while_paused = true;
  ports.held_by_others.insert(3000);
  tell({listener("127.0.0.1", 3000)});
  EXPECT_EQ(view("auto:tcp:localhost=3000").host_port->number(), 3001);
  EXPECT_EQ(view("auto:tcp:localhost=3000").state, ForwardState::active);
}

TEST_F(ReconcilerGuests, TheSameToldAgainDoesNothing) {
  begin("<auto/>", {listener("127.0.0.1", 3000)});
  relay.take();
  tell({listener("127.0.0.1", 3000)});
  EXPECT_THAT(relay.take(), IsEmpty());
}

TEST_F(ReconcilerGuests, AnExactClaimBeatsAGuess) {
  begin("<auto/>", {listener("127.0.0.1", 80)});
  EXPECT_EQ(view("auto:tcp:localhost=80").host_port->number(), 8080);
  reconciler.domain_changed(running(R"(<forward guest-port="7000" host-port="8080"/><auto/>)"));
  turn();
  EXPECT_EQ(view("tcp:8080:7000").host_port->number(), 8080);
  EXPECT_EQ(view("auto:tcp:localhost=80").host_port->number(), 8081);
}

TEST_F(ReconcilerGuests, WhatADefinitionServesIsNotServedTwice) {
  begin(R"(<forward guest-port="80" host-port="8888"/><auto/>)", {listener("0.0.0.0", 80)});
  EXPECT_THAT(ids(), ElementsAre("tcp:8888:80"));
  EXPECT_EQ(view("tcp:8888:80").process->name, "server");
}

TEST_F(ReconcilerGuests, ADefinitionSaysThatNothingListens) {
  begin(R"(<forward guest-port="80" host-port="8888"/>)", {listener("0.0.0.0", 81)});
  EXPECT_EQ(view("tcp:8888:80").state, ForwardState::no_listener);
  tell({listener("0.0.0.0", 80)});
  EXPECT_EQ(view("tcp:8888:80").state, ForwardState::active);
}

TEST_F(ReconcilerGuests, ARuleThatBlocksCuts) {
  begin("<auto/>", {listener("127.0.0.1", 3000)});
  relay.take();
  reconciler.domain_changed(running(R"(<auto><rule action="block" guest-port="3000"/></auto>)"));
  turn();
  EXPECT_THAT(relay.take(), ElementsAre("-web-uuid/auto:tcp:localhost=3000"));
  EXPECT_THAT(ids(), IsEmpty());
}

TEST_F(ReconcilerGuests, TheCapIsVisible) {
  Policy policy;
  policy.automatic_ports_per_domain = 2;
  reconciler.set_policy(policy);
  begin("<auto/>", {listener("127.0.0.1", 3000)});
  tell({listener("127.0.0.1", 2001)});
  tell({listener("127.0.0.1", 2000)});
  EXPECT_THAT(ids(), ElementsAre("auto:tcp:localhost=2001", "auto:tcp:localhost=3000"));
}

TEST_F(ReconcilerGuests, TheAgentThatIsAwayForAMomentChangesNothing) {
  begin("<auto/>", {listener("127.0.0.1", 3000)});
  relay.take();
  relay.guests.clear();
  reconciler.guest_down({uuid, RelayGuestFault::ended, 0, 0, 0});
  turn_until([&] { return !relay.guests.empty(); });
  EXPECT_THAT(relay.guests, ElementsAre("open web-uuid"));
  EXPECT_EQ(view("auto:tcp:localhost=3000").state, ForwardState::active);
  reconciler.guest_up({uuid, 0, ""});
  tell({});
  EXPECT_THAT(relay.take(), IsEmpty());
}

TEST_F(ReconcilerGuests, WhatWasFoundLastIsWhyAnAgentIsAway) {
  begin("<forward name='web' guest-port='80' transport='vsock'/>", {listener("127.0.0.1", 80)});
  reconciler.guest_down({uuid, RelayGuestFault::ended, 0, 0, 0});
  reconciler.guest_down(
      {uuid, RelayGuestFault::refused, 0, static_cast<std::uint16_t>(GuestStatus::version), 2});
  turn_until([&] { return view("web").state == ForwardState::waiting; });
  EXPECT_THAT(view("web").reason, testing::HasSubstr("protocol 2"));
}

// Its stream stays silent, so it is not waited for.
TEST_F(ReconcilerGuests, AGuestThatRebootsIsAskedAnew) {
  begin("<auto/>", {listener("127.0.0.1", 3000)});
  relay.guests.clear();
  reconciler.guest_reset(uuid);
  turn_until([&] { return !relay.guests.empty(); });
  EXPECT_THAT(relay.guests, ElementsAre("open web-uuid"));
}

TEST_F(ReconcilerGuests, UdpIsAskedForWhereARuleWantsIt) {
  reconciler.resynced({running(R"(<auto><rule protocol="udp" guest-port="69"/></auto>)")});
  turn_until([&] { return !relay.guests.empty(); });
  EXPECT_THAT(relay.guests, ElementsAre("open web-uuid udp"));
}

TEST_F(ReconcilerGuests, AStoppedDomainLeavesNothing) {
  begin("<auto/>", {listener("127.0.0.1", 3000)});
  DomainSnapshot stopped = running("<auto/>");
  stopped.active = stopped.serving = false;
  stopped.id.reset();
  reconciler.domain_changed(stopped);
  turn();
  EXPECT_THAT(ids(), IsEmpty());
  EXPECT_THAT(relay.guests, Contains("close web-uuid"));
  EXPECT_FALSE(ports.is_bound(3000));
}

// A daemon that comes anew finds automatic forwards in the relay, and waits for the guest to tell.
TEST_F(ReconcilerGuests, ANewDaemonTakesAutomaticForwardsOver) {
  begin("<auto/>", {listener("127.0.0.1", 3000), listener("127.0.0.1", 3001)});
  FakePorts later_ports;
  ForwardTable later_table{"test:///default"};
  Reconciler later{Policy{}, later_ports, hints, later_table};
  later.use_agent_directory(directory_);
  later.use_relay(relay);
  relay.take();
  relay.guests.clear();
  later.relay_ready(relay.held());
  later.resynced({running("<auto/>")});
  turn_until([&] { return !relay.guests.empty(); });
  EXPECT_THAT(relay.take(), IsEmpty()) << "nothing is given back before the guest has told";
}

}  // namespace
}  // namespace vf
