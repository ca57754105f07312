// SPDX-License-Identifier: LGPL-2.1-or-later

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "reconciler_lab.h"

namespace vf {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

TEST_F(ReconcilerTest, ADomainsLife) {
  reconciler.resynced({});
  reconciler.domain_changed(running("web", simple_));
  EXPECT_THAT(relay.take(), ElementsAre("+" + key_));
  EXPECT_TRUE(relay.forwards[key_].target.endpoints.empty());
  EXPECT_EQ(view("web-uuid", id_).state, ForwardState::waiting);
  EXPECT_EQ(view("web-uuid", id_).host_port->number(), 8080);

  reconciler.addresses_changed("web-uuid", {*IpAddress::parse("192.0.2.7")});
  EXPECT_THAT(relay.take(), ElementsAre("~" + key_));
  EXPECT_EQ(text(relay.forwards[key_].target.endpoints.front()), "192.0.2.7:80");
  EXPECT_EQ(view("web-uuid", id_).state, ForwardState::active);
  EXPECT_FALSE(view("web-uuid", id_).proven);

  reconciler.forward_proven(key_, 0);
  EXPECT_TRUE(view("web-uuid", id_).proven);

  reconciler.domain_changed(stopped(running("web", simple_)));
  EXPECT_THAT(relay.take(), ElementsAre("-" + key_));
  EXPECT_FALSE(ports.is_bound(8080));
  EXPECT_EQ(view("web-uuid", id_).state, ForwardState::inactive);
}

TEST_F(ReconcilerTest, APausedDomainsForwardsSayThatNobodyAnswers) {
  DomainSnapshot paused = running("web", simple_);
  paused.paused = true;
  reconciler.resynced({running("web", simple_)});
  reconciler.addresses_changed("web-uuid", {*IpAddress::parse("192.0.2.7")});
  relay.take();
  reconciler.domain_changed(paused);
  EXPECT_EQ(view("web-uuid", id_).state, ForwardState::active);
  EXPECT_EQ(view("web-uuid", id_).reason,
            "the domain is paused: it answers when it is resumed (virsh resume web)");
  // Clients that waited in vain are no error of the forward's.
  for (const int silence : {ETIMEDOUT, EHOSTUNREACH})
    reconciler.forward_failing(key_, silence);
  EXPECT_EQ(view("web-uuid", id_).state, ForwardState::active);
  // Who answers no neighbour's question has no proven address before long.
  reconciler.addresses_changed("web-uuid", {});
  EXPECT_EQ(view("web-uuid", id_).state, ForwardState::waiting);
  EXPECT_EQ(view("web-uuid", id_).reason,
            "the domain is paused: it is served when it is resumed (virsh resume web); now, no "
            "address of the guest has been seen yet");
  reconciler.addresses_changed("web-uuid", {*IpAddress::parse("192.0.2.7")});
  relay.take();
  reconciler.domain_changed(running("web", simple_));
  EXPECT_EQ(view("web-uuid", id_).state, ForwardState::active);
  EXPECT_EQ(view("web-uuid", id_).reason, "");
  EXPECT_THAT(relay.take(), IsEmpty());
  EXPECT_TRUE(ports.is_bound(8080));

  reconciler.forward_failing(key_, ETIMEDOUT);
  EXPECT_EQ(view("web-uuid", id_).state, ForwardState::failed);
  reconciler.domain_changed(paused);
  reconciler.forward_failing(key_, ECONNREFUSED);
  EXPECT_EQ(view("web-uuid", id_).state, ForwardState::no_listener) << "somebody answered";
}

TEST_F(ReconcilerTest, ACommandToPasteHasTheNameInQuotes) {
  DomainSnapshot paused = running("a;id", simple_);
  paused.paused = true;
  reconciler.resynced({paused});
  EXPECT_THAT(view("a;id-uuid", id_).reason, HasSubstr("(virsh resume 'a;id')"));
}

// Invariant 9.
TEST_F(ReconcilerTest, TheSameNewsAgainDoesNothing) {
  reconciler.resynced({running("web", simple_)});
  relay.take();
  reconciler.domain_changed(running("web", simple_));
  reconciler.resynced({running("web", simple_)});
  EXPECT_THAT(relay.take(), IsEmpty());
}

TEST_F(ReconcilerTest, ADomainThatIsGoneLeavesNothing) {
  reconciler.resynced({running("web", simple_)});
  reconciler.resynced({});
  EXPECT_TRUE(relay.forwards.empty());
  EXPECT_FALSE(ports.is_bound(8080));
  EXPECT_TRUE(table.domains().empty());
}

TEST_F(ReconcilerTest, ALabelCutsNothing) {
  reconciler.resynced({running("web", simple_)});
  relay.take();
  reconciler.domain_changed(
      running("web", R"(<forward guest-port="80" host-port="8080" label="shop"/>)"));
  EXPECT_THAT(relay.take(), IsEmpty());
  EXPECT_EQ(view("web-uuid", id_).label, "shop");
}

// The relay's duplicate keeps a port busy until the relay has let go of it.
TEST_F(ReconcilerTest, ARenamedForwardGetsItsPortBack) {
  reconciler.resynced({running("web", R"(<forward name="a" guest-port="80" host-port="8080"/>)")});
  relay.slow = true;
  reconciler.domain_changed(
      running("web", R"(<forward name="b" guest-port="80" host-port="8080"/>)"));
  relay.apply();
  EXPECT_THAT(relay.take(), ElementsAre("+web-uuid/a", "-web-uuid/a", "+web-uuid/b"));
  EXPECT_EQ(view("web-uuid", "b").host_port->number(), 8080);
}

TEST_F(ReconcilerTest, TwoDomainsWantOnePort) {
  reconciler.resynced({running("web", simple_), running("other", simple_, 2)});
  const auto first = view("web-uuid", id_).host_port->number();
  const auto second = view("other-uuid", id_).host_port->number();
  EXPECT_THAT((std::set<unsigned>{first, second}), ElementsAre(8080, 8081));
}

TEST_F(ReconcilerTest, AnExactClaimWaitsForItsPortAndGetsIt) {
  const std::string exact = R"(<forward guest-port="80" host-port="8080" on-busy="fail"/>)";
  reconciler.resynced({running("web", exact)});
  reconciler.domain_changed(running("other", exact, 2));
  const ForwardView busy = view("other-uuid", id_);
  EXPECT_EQ(busy.state, ForwardState::port_busy);
  EXPECT_THAT(busy.reason,
              HasSubstr("8080 is held by the forward \"tcp:8080:80\" of domain \"web\""));
  EXPECT_TRUE(busy.next_retry);
  reconciler.domain_changed(stopped(running("web", exact)));
  EXPECT_EQ(view("other-uuid", id_).state, ForwardState::waiting);
  EXPECT_EQ(view("other-uuid", id_).host_port->number(), 8080);
}

TEST_F(ReconcilerTest, UdpAndTcpMayHaveOnePort) {
  reconciler.resynced(
      {running("web", simple_ + R"(<forward guest-port="53" host-port="8080" protocol="udp"/>)")});
  EXPECT_EQ(view("web-uuid", id_).host_port->number(), 8080);
  EXPECT_EQ(view("web-uuid", "udp:8080:53").host_port->number(), 8080);
  EXPECT_EQ(relay.forwards[key_].protocol, RelayProtocol::stream);
  EXPECT_EQ(relay.forwards["web-uuid/udp:8080:53"].protocol, RelayProtocol::datagram);
  EXPECT_FALSE(view("web-uuid", id_).url.empty());
  EXPECT_EQ(view("web-uuid", "udp:8080:53").url, "");
  EXPECT_EQ(view("web-uuid", "udp:8080:53").protocol, Protocol::udp);
}

TEST_F(ReconcilerTest, TheHolderOfAUdpPortIsAUdpForward) {
  const std::string exact =
      R"(<forward guest-port="53" host-port="8080" protocol="udp" on-busy="fail"/>)";
  reconciler.resynced({running("aaa", simple_), running("dns", exact, 2)});
  reconciler.domain_changed(running("other", exact, 3));
  EXPECT_EQ(view("other-uuid", "udp:8080:53").state, ForwardState::port_busy);
  EXPECT_THAT(view("other-uuid", "udp:8080:53").reason, HasSubstr("domain \"dns\""));
}

TEST_F(ReconcilerTest, AnotherProtocolBindsAnewAndForgetsWhereTheFirstHadToMove) {
  ports.held_by_others = {8080};
  reconciler.resynced({running("web", R"(<forward name="n" guest-port="80" host-port="8080"/>)")});
  ASSERT_EQ(view("web-uuid", "n").host_port->number(), 8081);
  relay.take();
  reconciler.domain_changed(
      running("web", R"(<forward name="n" guest-port="80" host-port="8080" protocol="udp"/>)"));
  EXPECT_THAT(relay.take(), ElementsAre("-web-uuid/n", "+web-uuid/n"));
  EXPECT_EQ(relay.forwards["web-uuid/n"].protocol, RelayProtocol::datagram);
  EXPECT_EQ(view("web-uuid", "n").host_port->number(), 8080);
  EXPECT_FALSE(ports.is_bound(8081));
}

TEST_F(ReconcilerTest, ARunWhoseEndWasNotSeenLeavesNothing) {
  ports.held_by_others = {8080};
  const std::string content = R"(<forward name="n" guest-port="80" host-port="8080"/>)";
  reconciler.resynced({running("web", content, 1)});
  ASSERT_EQ(view("web-uuid", "n").host_port->number(), 8081);
  relay.take();
  ports.held_by_others.clear();
  reconciler.domain_changed(running("web", content, 2));
  EXPECT_THAT(relay.take(), ElementsAre("-web-uuid/n", "+web-uuid/n"));
  EXPECT_EQ(view("web-uuid", "n").host_port->number(), 8080);
}

TEST_F(ReconcilerTest, AStartPreparedBeforeTheEndIsSeenBindsAnew) {
  ports.held_by_others = {8080};
  const std::string content = R"(<forward name="n" guest-port="80" host-port="8080"/>)";
  const DomainSnapshot domain = running("web", content, 1);
  reconciler.resynced({domain});
  ports.held_by_others.clear();
  ASSERT_TRUE(reconciler.reserve("web-uuid", "web", forwards(content)));
  reconciler.domain_changed(stopped(domain));
  EXPECT_TRUE(ports.is_bound(8080));
  EXPECT_FALSE(ports.is_bound(8081));
  reconciler.domain_changed(running("web", content, 2));
  EXPECT_EQ(view("web-uuid", "n").host_port->number(), 8080);
}

TEST_F(ReconcilerTest, ABusyPortIsStickyOnlyForTheRun) {
  ports.held_by_others = {8080};
  reconciler.resynced({running("web", simple_)});
  ports.held_by_others.clear();
  reconciler.domain_changed(running("web", simple_ + R"(<forward guest-port="1"/>)"));
  EXPECT_EQ(view("web-uuid", id_).host_port->number(), 8081);
  reconciler.domain_changed(stopped(running("web", simple_)));
  reconciler.domain_changed(running("web", simple_, 2));
  EXPECT_EQ(view("web-uuid", id_).host_port->number(), 8080);
}

TEST_F(ReconcilerTest, ABadForwardDoesNotHarmItsSiblings) {
  reconciler.resynced({running("web", simple_ + R"(<forward guest-port="0"/>)")});
  EXPECT_EQ(view("web-uuid", id_).state, ForwardState::waiting);
  ASSERT_EQ(table.domain("web-uuid")->problems.size(), 1u);
  EXPECT_THAT(table.domain("web-uuid")->problems[0], HasSubstr("guest-port"));
}

TEST_F(ReconcilerTest, WhatTheNextStartHasIsShownAsInactive) {
  DomainSnapshot domain = running("web", simple_);
  domain.config_metadata = forwards(R"(<forward name="later" guest-port="81"/>)");
  reconciler.resynced({domain});
  const ForwardView later = view("web-uuid", "later");
  EXPECT_EQ(later.state, ForwardState::inactive);
  EXPECT_TRUE(later.config);
  EXPECT_FALSE(later.live);
  EXPECT_TRUE(view("web-uuid", id_).live);
  EXPECT_FALSE(view("web-uuid", id_).config);
}

TEST_F(ReconcilerTest, ASavedDomainGoesOnWithWhatItHad) {
  DomainSnapshot domain = stopped(running("web", simple_));
  reconciler.resynced({domain});
  EXPECT_FALSE(table.domain("web-uuid")->saved);
  domain.saved = true;
  reconciler.domain_changed(domain);
  EXPECT_TRUE(table.domain("web-uuid")->saved);
  EXPECT_EQ(view("web-uuid", id_).state, ForwardState::inactive);
  EXPECT_THAT(view("web-uuid", id_).reason,
              HasSubstr("is saved: this counts from the start after"));
}

TEST_F(ReconcilerTest, WhatTheNextStartHasDisabledIsShownSo) {
  const std::string off = R"(<forward name="off" guest-port="82" host-port="8082" enabled="no"/>)";
  DomainSnapshot domain = running("web", simple_);
  domain.config_metadata = forwards(simple_ + off);
  for (const DomainSnapshot& seen : {domain, stopped(domain)}) {
    reconciler.resynced({seen});
    const ForwardView disabled = view("web-uuid", "off");
    EXPECT_EQ(disabled.state, ForwardState::disabled);
    EXPECT_EQ(disabled.reason, "enabled=\"no\"");
    EXPECT_TRUE(disabled.config);
    EXPECT_FALSE(disabled.live);
  }
  EXPECT_EQ(view("web-uuid", id_).state, ForwardState::inactive);
}

// --- the guest's answers -------------------------------------------------------------------------

TEST_F(ReconcilerTest, ARefusalIsNoListenerUntilAConnectionGetsThrough) {
  reconciler.resynced({running("web", simple_)});
  reconciler.addresses_changed("web-uuid", {*IpAddress::parse("192.0.2.7")});
  reconciler.forward_failing(key_, ECONNREFUSED);
  EXPECT_EQ(view("web-uuid", id_).state, ForwardState::no_listener);
  EXPECT_THAT(view("web-uuid", id_).reason, HasSubstr("192.0.2.7:80"));
  reconciler.forward_failing(key_, EHOSTUNREACH);
  EXPECT_EQ(view("web-uuid", id_).state, ForwardState::failed);
  reconciler.forward_proven(key_, 0);
  EXPECT_EQ(view("web-uuid", id_).state, ForwardState::active);
}

TEST_F(ReconcilerTest, ANewAddressForgivesOldFailures) {
  reconciler.resynced({running("web", simple_)});
  reconciler.addresses_changed("web-uuid", {*IpAddress::parse("192.0.2.7")});
  reconciler.forward_failing(key_, EHOSTUNREACH);
  reconciler.addresses_changed("web-uuid", {*IpAddress::parse("192.0.2.8")});
  EXPECT_EQ(view("web-uuid", id_).state, ForwardState::active);
}

// --- restarts ------------------------------------------------------------------------------------

TEST_F(ReconcilerTest, ALostRelayIsRefilled) {
  reconciler.resynced({running("web", simple_)});
  relay.take();
  relay.is_ready = false;
  relay.forwards.clear();
  reconciler.relay_lost("killed");
  EXPECT_TRUE(ports.is_bound(8080));
  EXPECT_THAT(view("web-uuid", id_).state, ForwardState::waiting);
  relay.is_ready = true;
  reconciler.relay_ready({});
  EXPECT_THAT(relay.take(), ElementsAre("+" + key_));
}

TEST_F(ReconcilerTest, ARelayThatTookOverKeepsItsConnections) {
  reconciler.resynced({running("web", simple_)});
  relay.take();
  relay.is_ready = false;
  reconciler.relay_lost("another relay takes over");
  relay.is_ready = true;
  reconciler.relay_ready(relay.held());
  EXPECT_THAT(relay.take(), ElementsAre("~" + key_));
}

TEST_F(ReconcilerTest, WithoutARelayPortsAreHeld) {
  relay.is_ready = false;
  reconciler.resynced({running("web", simple_)});
  EXPECT_FALSE(ports.is_bound(8080));
  reconciler.relay_lost("cannot be started");
  EXPECT_TRUE(ports.is_bound(8080));
  EXPECT_THAT(relay.take(), IsEmpty());
}

TEST_F(ReconcilerTest, TheFirstAnswerOfTheRelayIsWaitedFor) {
  relay.is_ready = false;
  std::vector<bool> heard;
  const auto hear = [&] { heard.push_back(ports.is_bound(8080)); };
  reconciler.resynced({running("web", simple_)});
  reconciler.when_relay_answered(hear);
  EXPECT_THAT(heard, IsEmpty());
  relay.is_ready = true;
  reconciler.relay_ready({});
  EXPECT_THAT(heard, ElementsAre(true));
  reconciler.when_relay_answered(hear);
  EXPECT_THAT(heard, ElementsAre(true, true));
}

TEST_F(ReconcilerTest, ARelayThatCannotBeStartedHasAnsweredToo) {
  relay.is_ready = false;
  bool heard = false;
  reconciler.when_relay_answered([&] { heard = true; });
  reconciler.relay_lost("cannot be started");
  EXPECT_TRUE(heard);
}

// --- a start that is prepared --------------------------------------------------------------------

const std::string required_ =
    R"(<forward guest-port="80" host-port="8080" on-busy="fail" required="yes"/>)";

TEST_F(ReconcilerTest, AReservationHoldsThePortUntilTheDomainRuns) {
  reconciler.resynced({stopped(running("web", required_))});
  EXPECT_TRUE(reconciler.reserve("web-uuid", "web", forwards(required_)));
  EXPECT_TRUE(ports.is_bound(8080));
  EXPECT_THAT(relay.take(), IsEmpty());
  reconciler.domain_changed(running("web", required_));
  EXPECT_THAT(relay.take(), ElementsAre("+" + key_));
}

TEST_F(ReconcilerTest, APortThatWasReservedIsStickyForTheRun) {
  ports.held_by_others = {8080};
  const std::string element = R"(<forward name="n" guest-port="80" host-port="8080"/>)";
  reconciler.resynced({});
  ASSERT_TRUE(reconciler.reserve("web-uuid", "web", forwards(element)));
  const DomainSnapshot domain = running("web", element);
  reconciler.domain_changed(domain);
  const auto hint = hints.find("web-uuid/n", domain.id);
  ASSERT_TRUE(hint);
  EXPECT_EQ(hint->port.number(), 8081);
}

// The port of the run before is held by the relay until it says otherwise.
TEST_F(ReconcilerTest, AStartRightAfterTheEndHasTheExactPort) {
  const DomainSnapshot before = running("web", required_, 1);
  reconciler.resynced({before});
  relay.take();
  relay.slow = true;
  reconciler.domain_changed(stopped(before));
  EXPECT_TRUE(ports.is_bound(8080));
  std::optional<Result<void>> reserved;
  relay.commit([&] { reserved = reconciler.reserve("web-uuid", "web", forwards(required_)); });
  relay.apply();
  ASSERT_TRUE(reserved);
  EXPECT_TRUE(*reserved) << reserved->error().message;
  EXPECT_THAT(relay.take(), ElementsAre("-" + key_));
  EXPECT_TRUE(ports.is_bound(8080));

  // The end is told again, in whatever form: the start keeps its port.
  reconciler.domain_changed(stopped(before));
  reconciler.resynced({stopped(before)});
  EXPECT_TRUE(ports.is_bound(8080));
  relay.slow = false;
  reconciler.domain_changed(running("web", required_, 2));
  EXPECT_THAT(relay.take(), ElementsAre("+" + key_));
}

TEST_F(ReconcilerTest, ARequiredForwardOfTheNextStartAloneIsReserved) {
  DomainSnapshot before = running("web", "", 1);
  before.config_metadata = forwards(required_);
  reconciler.resynced({before});
  DomainSnapshot after = before;
  after.active = after.serving = false;
  after.id.reset();
  after.live_metadata.clear();
  reconciler.domain_changed(after);
  EXPECT_TRUE(reconciler.reserve("web-uuid", "web", forwards(required_)));
  EXPECT_TRUE(ports.is_bound(8080));
}

TEST_F(ReconcilerTest, ARequiredPortThatIsBusyRefusesTheStart) {
  ports.held_by_others = {8080};
  const auto result = reconciler.reserve("web-uuid", "web", forwards(required_));
  ASSERT_FALSE(result);
  EXPECT_THAT(result.error().message, HasSubstr("8080"));
}

TEST_F(ReconcilerTest, AnOptionalPortThatIsBusyDoesNot) {
  ports.held_by_others = {8081};
  EXPECT_TRUE(reconciler.reserve(
      "web-uuid", "web",
      forwards(required_ + R"(<forward guest-port="81" host-port="8081" on-busy="fail"/>)")));
}

TEST_F(ReconcilerTest, WhatCannotBeServedCannotBeRequired) {
  const auto result = reconciler.reserve(
      "web-uuid", "web", forwards(R"(<forward guest-port="53" transport="ssh" required="yes"/>)"));
  ASSERT_FALSE(result);
  EXPECT_THAT(result.error().message, HasSubstr("ssh"));
}

TEST_F(ReconcilerTest, ReleaseGivesTheReservationBack) {
  EXPECT_TRUE(reconciler.reserve("web-uuid", "web", forwards(required_)));
  reconciler.release("web-uuid");
  EXPECT_FALSE(ports.is_bound(8080));
  EXPECT_TRUE(reconciler.reserve("web-uuid", "web", forwards(required_)));
}

TEST_F(ReconcilerTest, AMigrationsDestinationServesWhenTheDomainResumesThere) {
  EXPECT_TRUE(reconciler.reserve("web-uuid", "web", forwards(required_)));
  DomainSnapshot incoming = running("web", required_);
  incoming.serving = false;
  reconciler.domain_changed(incoming);
  EXPECT_TRUE(ports.is_bound(8080));
  EXPECT_THAT(relay.take(), IsEmpty());
  reconciler.domain_changed(running("web", required_));
  EXPECT_THAT(relay.take(), ElementsAre("+" + key_));
}

// --- edits ---------------------------------------------------------------------------------------

TEST_F(ReconcilerTest, WantingBindsBeforeTheMetadataSaysSo) {
  reconciler.resynced({running("web", "")});
  DomainRecord* domain = reconciler.domain("web-uuid");
  ASSERT_TRUE(domain);
  const auto views = reconciler.want(*domain, {*parse_forward({{"guest-port", "80"}})});
  ASSERT_TRUE(views);
  ASSERT_EQ(views->size(), 1u);
  EXPECT_EQ(views->front().host_port->number(), 40000);
  // News that does not know of it yet does not undo it.
  reconciler.domain_changed(running("web", ""));
  EXPECT_TRUE(ports.is_bound(40000));
  reconciler.domain_changed(running("web", R"(<forward guest-port="80"/>)"));
  reconciler.domain_changed(running("web", ""));
  EXPECT_FALSE(ports.is_bound(40000));
}

TEST_F(ReconcilerTest, WhatCannotBeHadIsNotWantedAnyMore) {
  ports.held_by_others = {8080};
  reconciler.resynced({running("web", "")});
  DomainRecord* domain = reconciler.domain("web-uuid");
  const auto views = reconciler.want(
      *domain,
      {*parse_forward({{"guest-port", "80"}, {"host-port", "8080"}, {"on-busy", "fail"}})});
  ASSERT_FALSE(views);
  EXPECT_EQ(views.error().code, ErrorCode::port_busy);
  EXPECT_THAT(table.forwards("web-uuid"), IsEmpty());
}

TEST_F(ReconcilerTest, DrainIsForThatRemovalOnly) {
  reconciler.resynced({running("web", simple_)});
  reconciler.domain("web-uuid")->draining.insert(id_);
  relay.take();
  reconciler.domain_changed(running("web", ""));
  reconciler.domain_changed(running("web", simple_));
  reconciler.domain_changed(running("web", ""));
  EXPECT_THAT(relay.take(), ElementsAre("-" + key_ + " drain", "+" + key_, "-" + key_));
}

TEST_F(ReconcilerTest, APolicyThatChangesIsAppliedAtOnce) {
  reconciler.resynced({running("web", simple_)});
  Policy strict;
  strict.host_ports = {PortRange(*Port::from(9000))};
  reconciler.set_policy(strict);
  EXPECT_EQ(view("web-uuid", id_).state, ForwardState::denied);
  EXPECT_FALSE(ports.is_bound(8080));
  reconciler.set_policy(Policy{});
  EXPECT_EQ(view("web-uuid", id_).state, ForwardState::waiting);
}

}  // namespace
}  // namespace vf
