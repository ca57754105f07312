// SPDX-License-Identifier: LGPL-2.1-or-later

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "reconciler_lab.h"

namespace vf {
namespace {

using testing::Contains;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

// Notes what is applied, in the order in which it and the relay are told.
class FakeOffload : public KernelOffload {
 public:
  FakeOffload(Offload kind, std::vector<std::string>& said) : kind_(kind), said_(said) {}

  Offload kind() const override { return kind_; }
  Result<void> start(Events told) override {
    on_loss = std::move(told.lost);
    on_failing = std::move(told.failing);
    if (impossible.empty()) return {};
    return Unexpected(ErrorCode::not_supported, impossible);
  }
  const Fd* left() override { return &marks; }
  void inherit(Fd fd) override { marks = std::move(fd); }
  Result<void> admits(const OffloadEntry& entry) const override {
    if (kind_ == Offload::redirect || entry.host.address.is_v4()) return {};
    return Unexpected(ErrorCode::not_supported, "only 127.0.0.1");
  }
  Result<void> apply(std::span<const OffloadEntry> gone,
                     std::span<const OffloadEntry> added) override {
    if (failing) return Unexpected(ErrorCode::failed, "no memory");
    for (const OffloadEntry& entry : gone)
      said_.push_back("short-cut gone " + entry.host.text());
    for (const OffloadEntry& entry : added)
      said_.push_back("short-cut " + entry.host.text() + " to " + entry.guest.text() + " by " +
                      entry.bridge);
    return {};
  }
  void cut(std::span<const std::string> keys) override {
    for (const std::string& key : keys)
      said_.push_back("cut " + key);
  }
  Result<std::map<std::string, Count>> counts() override { return counted; }

  std::string impossible;
  Fd marks;
  bool failing = false;
  std::map<std::string, Count> counted;
  std::function<void(const Loss&)> on_loss;
  std::function<void(const std::string&, int)> on_failing;

 private:
  Offload kind_;
  std::vector<std::string>& said_;
};

class FakeTunnels : public TunnelLayer {
 public:
  explicit FakeTunnels(Transport kind) : kind_(kind) {}
  Transport kind() const override { return kind_; }
  void order(TunnelOrder order) override { orders[order.uuid] = std::move(order); }
  void forget(const std::string& uuid) override { orders.erase(uuid); }
  TunnelEnds ends(const std::string&) const override { return laid; }

  std::map<std::string, TunnelOrder> orders;
  std::map<TunnelTarget, std::string> refusals(const std::string&) const override {
    return refused;
  }
  TunnelEnds laid;
  std::map<TunnelTarget, std::string> refused;

 private:
  Transport kind_;
};

class ReconcilerWays : public ReconcilerTest {
 protected:
  FakeOffload& use(Offload kind, Offloads::Start start = Offloads::Start::now) {
    auto offload = std::make_unique<FakeOffload>(kind, relay.applied);
    FakeOffload& used = *offload;
    reconciler.use_offload(std::move(offload), start);
    return used;
  }

  static DomainSnapshot running(const std::string& content) { return vf::running("web", content); }

  void serve(const std::string& content) {
    reconciler.resynced({running(content)});
    reconciler.addresses_changed("web-uuid", {*IpAddress::parse("192.0.2.7")});
    relay.take();
  }

  ForwardView view(const std::string& id = "tcp:8080:80") {
    return ReconcilerTest::view("web-uuid", id);
  }
  std::string reason_of(const std::string& way) {
    for (const WayView& one : view().ways)
      if (one.way == way) return std::string(text(one.state)) + ": " + one.reason;
    return {};
  }
};

// --- short-cuts

TEST_F(ReconcilerWays, AShortCutFollowsTheFirstConnectionThatGotThrough) {
  use(Offload::redirect);
  serve(simple_);
  EXPECT_EQ(view().offload, Offload::none);
  EXPECT_THAT(reason_of("redirect"), HasSubstr("no connection got through"));
  reconciler.forward_proven(key_, 0);
  EXPECT_THAT(relay.take(), ElementsAre("short-cut 127.0.0.1:8080 to 192.0.2.7:80 by virbr0",
                                        "short-cut [::1]:8080 to 192.0.2.7:80 by virbr0"));
  EXPECT_EQ(view().offload, Offload::redirect);
  EXPECT_EQ(reason_of("redirect"), "used: ");
  EXPECT_EQ(reason_of("tcp"), "used: ");
  reconciler.domain_changed(running(simple_));
  reconciler.forward_proven(key_, 0);
  EXPECT_THAT(relay.take(), IsEmpty());
}

// What a domain that stops leaves must not be sent to whoever has its address next.
TEST_F(ReconcilerWays, TheShortCutGoesBeforeAnythingElse) {
  use(Offload::redirect);
  serve(simple_);
  reconciler.forward_proven(key_, 0);
  relay.take();
  DomainSnapshot stopped = running(simple_);
  stopped.active = stopped.serving = false;
  stopped.id.reset();
  reconciler.domain_changed(stopped);
  const auto said = relay.take();
  EXPECT_THAT(said, ElementsAre("short-cut gone 127.0.0.1:8080", "short-cut gone [::1]:8080",
                                "cut " + key_, "-" + key_));
}

TEST_F(ReconcilerWays, AnAddressThatIsLostTakesItsShortCutAlong) {
  use(Offload::redirect);
  serve(simple_);
  reconciler.forward_proven(key_, 0);
  relay.take();
  reconciler.addresses_changed("web-uuid", {*IpAddress::parse("192.0.2.8")});
  EXPECT_THAT(relay.take(), ElementsAre("short-cut gone 127.0.0.1:8080",
                                        "short-cut gone [::1]:8080", "~" + key_));
  EXPECT_EQ(view().offload, Offload::none);
  // It was proven before, by the same place in the route: what counts is to which address.
  reconciler.forward_proven(key_, 0);
  EXPECT_THAT(relay.take(), ElementsAre("short-cut 127.0.0.1:8080 to 192.0.2.8:80 by virbr0",
                                        "short-cut [::1]:8080 to 192.0.2.8:80 by virbr0"));
}

TEST_F(ReconcilerWays, WhatNeedsTheRelayIsLeftToIt) {
  use(Offload::redirect);
  for (const char* attribute :
       {R"(proxy-protocol="v2")", R"(idle-timeout="5")", R"(max-connections="5")",
        R"(offload="none")", R"(offload="nftables")"}) {
    serve(R"(<forward guest-port="80" host-port="8080" )" + std::string(attribute) + "/>");
    reconciler.forward_proven(key_, 0);
    EXPECT_THAT(relay.take(), IsEmpty()) << attribute;
    EXPECT_THAT(reason_of("redirect"), HasSubstr("rejected: ")) << attribute;
    reconciler.resynced({});
    relay.take();
  }
}

// Nothing is cut by it.
TEST_F(ReconcilerWays, SwitchingAShortCutOffCutsNothing) {
  use(Offload::redirect);
  serve(simple_);
  reconciler.forward_proven(key_, 0);
  relay.take();
  reconciler.domain_changed(
      running(R"(<forward guest-port="80" host-port="8080" offload="none"/>)"));
  EXPECT_THAT(relay.take(),
              ElementsAre("short-cut gone 127.0.0.1:8080", "short-cut gone [::1]:8080"));
}

TEST_F(ReconcilerWays, TheSecondBestTakesWhatItCan) {
  use(Offload::nftables);
  serve(simple_);
  reconciler.forward_proven(key_, 0);
  EXPECT_THAT(relay.take(), ElementsAre("short-cut 127.0.0.1:8080 to 192.0.2.7:80 by virbr0"));
  EXPECT_EQ(view().offload, Offload::nftables);
}

TEST_F(ReconcilerWays, ThePolicyMayForbidShortCuts) {
  use(Offload::redirect);
  serve(simple_);
  reconciler.forward_proven(key_, 0);
  relay.take();
  Policy policy;
  policy.offloads = {};
  reconciler.set_policy(policy);
  EXPECT_THAT(relay.take(),
              ElementsAre("short-cut gone 127.0.0.1:8080", "short-cut gone [::1]:8080"));
  EXPECT_THAT(reason_of("redirect"), HasSubstr("[host] offloads"));
}

TEST_F(ReconcilerWays, OneThatFailsLeavesTheForwardToTheRelay) {
  FakeOffload& offload = use(Offload::redirect);
  offload.failing = true;
  serve(simple_);
  reconciler.forward_proven(key_, 0);
  EXPECT_EQ(view().state, ForwardState::active);
  EXPECT_EQ(view().offload, Offload::none);
  EXPECT_THAT(reason_of("redirect"), HasSubstr("no memory"));
}

TEST_F(ReconcilerWays, TheSecondBestIsStartedForWhoNeedsIt) {
  use(Offload::redirect);
  FakeOffload& second = use(Offload::nftables, Offloads::Start::when_needed);
  serve(simple_);
  reconciler.forward_proven(key_, 0);
  EXPECT_EQ(view().offload, Offload::redirect);
  EXPECT_FALSE(second.on_loss);
  reconciler.domain_changed(
      running(R"(<forward guest-port="80" host-port="8080" offload="nftables"/>)"));
  EXPECT_TRUE(second.on_loss);
  EXPECT_EQ(view().offload, Offload::nftables);
}

TEST_F(ReconcilerWays, OneThatWaitsForTheRelayGetsWhatThatKept) {
  FakeOffload& offload = use(Offload::redirect, Offloads::Start::with_relay);
  EXPECT_FALSE(offload.on_loss);
  Fd marks(dup(STDERR_FILENO));
  const int number = marks.get();
  std::map<std::string, Fd> kept;
  kept.emplace("redirect", std::move(marks));
  reconciler.relay_kept(std::move(kept));
  EXPECT_TRUE(offload.on_loss);
  EXPECT_EQ(offload.marks.get(), number);
  EXPECT_THAT(relay.kept, ElementsAre("redirect"));
  // Again, of a relay that begins empty: nothing is started anew.
  offload.on_loss = {};
  reconciler.relay_kept({});
  EXPECT_FALSE(offload.on_loss);
  EXPECT_THAT(relay.kept, ElementsAre("redirect", "redirect"));
}

// The daemon that redirected them is gone, and this one never had a way for them.
TEST_F(ReconcilerWays, WhatAnEarlierDaemonTookPastTheRelayIsCut) {
  use(Offload::redirect, Offloads::Start::with_relay);
  std::map<std::string, Fd> kept;
  kept.emplace("redirect", Fd(dup(STDERR_FILENO)));
  reconciler.relay_kept(std::move(kept));
  serve(simple_);
  reconciler.domain_changed(running(""));
  EXPECT_THAT(relay.take(), ElementsAre("cut " + key_, "-" + key_));
}

// Its domain has stopped while there was no daemon.
TEST_F(ReconcilerWays, WhatNobodyClaimsIsCutAlsoPastTheRelay) {
  use(Offload::redirect, Offloads::Start::with_relay);
  std::map<std::string, Fd> kept;
  kept.emplace("redirect", Fd(dup(STDERR_FILENO)));
  reconciler.relay_kept(std::move(kept));
  std::vector<HeldForward> held(1);
  held.front().forward.key = key_;
  reconciler.relay_ready(std::move(held));
  EXPECT_THAT(relay.take(), IsEmpty());
  reconciler.resynced({});
  EXPECT_THAT(relay.take(), ElementsAre("cut " + key_, "-" + key_));
}

TEST_F(ReconcilerWays, OneThatIsTakenAwayIsSaid) {
  FakeOffload& offload = use(Offload::redirect);
  serve(simple_);
  reconciler.forward_proven(key_, 0);
  offload.on_loss({false, "somebody detached it"});
  EXPECT_EQ(view().offload, Offload::none);
  EXPECT_THAT(reason_of("redirect"), HasSubstr("somebody detached it"));
}

// The relay is asked to tell anew: nothing of what it knows has changed.
TEST_F(ReconcilerWays, AShortCutThatFailsGoesUntilTheRelayGetsThrough) {
  FakeOffload& offload = use(Offload::redirect);
  serve(simple_);
  reconciler.forward_proven(key_, 0);
  relay.take();
  offload.on_failing(key_, ECONNREFUSED);
  EXPECT_THAT(relay.take(), ElementsAre("short-cut gone 127.0.0.1:8080",
                                        "short-cut gone [::1]:8080", "~" + key_));
  EXPECT_EQ(view().state, ForwardState::no_listener);
  EXPECT_EQ(view().offload, Offload::none);
  offload.on_failing(key_, ECONNREFUSED);  // was on its way
  reconciler.domain_changed(running(simple_));
  EXPECT_THAT(relay.take(), IsEmpty());
  reconciler.forward_proven(key_, 0);
  EXPECT_THAT(relay.take(), ElementsAre("short-cut 127.0.0.1:8080 to 192.0.2.7:80 by virbr0",
                                        "short-cut [::1]:8080 to 192.0.2.7:80 by virbr0"));
  EXPECT_EQ(view().state, ForwardState::active);
  EXPECT_EQ(view().offload, Offload::redirect);
}

// As when a client did not wait for the guest: no reason to call the forward broken.
TEST_F(ReconcilerWays, AShortCutThatFailsForAnUnknownReasonOnlyGoes) {
  FakeOffload& offload = use(Offload::redirect);
  serve(simple_ + R"(<forward guest-port="22" host-port="2222"/>)");
  reconciler.forward_proven(key_, 0);
  reconciler.forward_proven("web-uuid/tcp:2222:22", 0);
  relay.take();
  offload.on_failing(key_, 0);
  EXPECT_THAT(relay.take(), ElementsAre("short-cut gone 127.0.0.1:8080",
                                        "short-cut gone [::1]:8080", "~" + key_));
  EXPECT_EQ(view().state, ForwardState::active);
  EXPECT_EQ(view().offload, Offload::none);
  EXPECT_EQ(view("tcp:2222:22").offload, Offload::redirect);
  reconciler.forward_proven(key_, 0);
  EXPECT_EQ(view().offload, Offload::redirect);
}

TEST_F(ReconcilerWays, ConnectionsPastTheRelayAreCounted) {
  FakeOffload& offload = use(Offload::redirect);
  serve(simple_);
  EXPECT_TRUE(reconciler.offloads().connections().empty());
  reconciler.forward_proven(key_, 0);
  offload.counted[key_].connections = 3;
  EXPECT_EQ(reconciler.offloads().connections().at(key_), 3u);
}

// --- tunnels

const std::string account = R"(<ssh user="admin" identity="lab"/>)";

Policy with_key() {
  Policy policy;
  policy.ssh_keys["lab"] = "/keys/lab";
  return policy;
}

TEST_F(ReconcilerWays, AnAccountOrdersATunnelForEachForward) {
  FakeTunnels ssh(Transport::ssh);
  reconciler.use_tunnels(ssh);
  reconciler.set_policy(with_key());
  serve(simple_ + R"(<forward guest-port="22" host-port="2222" transport="tcp"/>)" + account);
  const TunnelOrder& order = ssh.orders.at("web-uuid");
  ASSERT_EQ(order.targets.size(), 1u);
  EXPECT_EQ(order.targets.begin()->port->number(), 80);
  EXPECT_EQ(order.ssh->user, "admin");
  EXPECT_EQ(order.ssh->key_path, "/keys/lab");
  EXPECT_EQ(order.addresses.size(), 1u);

  ssh.laid.emplace(*order.targets.begin(), RelayEndpoint(UnixEndpoint{"/run/t/80"}));
  reconciler.tunnels_changed(Transport::ssh, "web-uuid");
  const auto& endpoints = relay.forwards[key_].target.endpoints;
  ASSERT_EQ(endpoints.size(), 2u);
  EXPECT_EQ(text(endpoints.back()), "unix:/run/t/80");
  EXPECT_EQ(reason_of("ssh"), "ready: ");
  EXPECT_EQ(view().transport, Transport::tcp);
  reconciler.forward_proven(key_, 1);
  EXPECT_EQ(view().transport, Transport::ssh);
  EXPECT_EQ(reason_of("tcp"), "ready: ");

  reconciler.resynced({});
  EXPECT_TRUE(ssh.orders.empty());
}

TEST_F(ReconcilerWays, WhatAnAccountLacksIsNamed) {
  FakeTunnels ssh(Transport::ssh);
  reconciler.use_tunnels(ssh);
  serve(simple_ + account);
  EXPECT_TRUE(ssh.orders.at("web-uuid").targets.empty());
  EXPECT_THAT(reason_of("ssh"), HasSubstr("no ssh key \"lab\""));
}

// Asking QEMU taints the domain.
TEST_F(ReconcilerWays, AUserNetworkIsTheLastResort) {
  FakeTunnels usernet(Transport::usernet);
  reconciler.use_tunnels(usernet);
  DomainSnapshot domain = running(simple_);
  domain.interfaces = {{"52:54:00:00:00:01", "user", "", "", "net0", ""},
                       {"52:54:00:00:00:02", "network", "virbr0", "vnet0"}};
  reconciler.resynced({domain});
  EXPECT_THAT(usernet.orders.at("web-uuid").user_nets, ElementsAre("net0"));
  EXPECT_EQ(usernet.orders.at("web-uuid").targets.size(), 1u);
  reconciler.addresses_changed("web-uuid", {*IpAddress::parse("192.0.2.7")});
  EXPECT_TRUE(usernet.orders.at("web-uuid").targets.empty());
}

// The guest may only be booting.
TEST_F(ReconcilerWays, ALastResortWaitsForWhatMayBeBetter) {
  FakeTunnels usernet(Transport::usernet);
  reconciler.use_tunnels(usernet);
  DomainSnapshot domain = running(
      simple_ + R"(<forward guest-port="81" host-port="8081" transport="usernet"/>)" + account);
  domain.interfaces = {{"52:54:00:00:00:01", "user", "", "", "net0", ""}};
  reconciler.resynced({domain});
  ASSERT_EQ(usernet.orders.at("web-uuid").targets.size(), 1u) << "asked for by name";
  EXPECT_EQ(usernet.orders.at("web-uuid").targets.begin()->port->number(), 81);
}

TEST_F(ReconcilerWays, APausedGuestIsLeftToTheRelay) {
  use(Offload::redirect);
  serve(simple_);
  reconciler.forward_proven(key_, 0);
  relay.take();
  DomainSnapshot paused = running(simple_);
  paused.paused = true;
  reconciler.domain_changed(paused);
  EXPECT_THAT(relay.take(),
              ElementsAre("short-cut gone 127.0.0.1:8080", "short-cut gone [::1]:8080"));
  reconciler.domain_changed(running(simple_));
  EXPECT_EQ(view().offload, Offload::redirect);
}

TEST_F(ReconcilerWays, WhatATunnelsLastConnectionMetIsTheReason) {
  FakeTunnels ssh(Transport::ssh);
  reconciler.use_tunnels(ssh);
  reconciler.set_policy(with_key());
  reconciler.resynced({running(simple_ + account)});
  const TunnelTarget target = *ssh.orders.at("web-uuid").targets.begin();
  ssh.laid.emplace(target, RelayEndpoint(UnixEndpoint{"/run/t/80"}));
  ssh.refused.emplace(target, "Connection refused");
  reconciler.tunnels_changed(Transport::ssh, "web-uuid");
  EXPECT_EQ(view().state, ForwardState::no_listener);
  EXPECT_THAT(view().reason, HasSubstr("ssh: Connection refused"));
  ssh.refused.clear();
  reconciler.tunnels_changed(Transport::ssh, "web-uuid");
  EXPECT_EQ(view().state, ForwardState::active);
}

TEST_F(ReconcilerWays, PasstSaysWhyItCannotBeUsed) {
  DomainSnapshot domain = running(simple_);
  domain.interfaces = {{"52:54:00:00:00:01", "user", "", "", "net0", "passt"}};
  reconciler.resynced({domain});
  EXPECT_EQ(view().state, ForwardState::waiting);
  EXPECT_THAT(view().reason, HasSubstr("passt"));
}

TEST_F(ReconcilerWays, APinnedWayThatCanNeverBeIsAnError) {
  serve(simple_);
  ForwardDefinition definition;
  definition.guest = PortRange(*Port::from(22));
  definition.transport = Transport::ssh;
  const auto wanted = reconciler.want(*reconciler.domain("web-uuid"), {definition});
  ASSERT_FALSE(wanted);
  EXPECT_EQ(wanted.error().code, ErrorCode::not_supported);
  EXPECT_THAT(wanted.error().message, HasSubstr("<ssh>"));
  serve(R"(<forward guest-port="80" host-port="8080" transport="ssh"/>)");
  EXPECT_EQ(view().state, ForwardState::failed);
}

}  // namespace
}  // namespace vf
