// SPDX-License-Identifier: LGPL-2.1-or-later

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "daemon/reconciler.h"
#include "reconciler_fakes.h"

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
  Result<void> start(OnLoss told) override {
    on_loss = std::move(told);
    if (impossible.empty()) return {};
    return Unexpected(ErrorCode::not_supported, impossible);
  }
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
  bool failing = false;
  std::map<std::string, Count> counted;
  OnLoss on_loss;

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
  TunnelEnds laid;

 private:
  Transport kind_;
};

class ReconcilerWays : public testing::Test {
 protected:
  ReconcilerWays() { reconciler.use_relay(relay); }

  FakeOffload& use(Offload kind, Offloads::Start start = Offloads::Start::now) {
    auto offload = std::make_unique<FakeOffload>(kind, relay.applied);
    FakeOffload& used = *offload;
    reconciler.use_offload(std::move(offload), start);
    return used;
  }

  static DomainSnapshot running(const std::string& content) {
    DomainSnapshot domain;
    domain.uuid = "web-uuid";
    domain.name = "web";
    domain.id = 1;
    domain.active = domain.serving = true;
    domain.live_metadata = "<forwards>" + content + "</forwards>";
    domain.interfaces = {{"52:54:00:00:00:01", "network", "virbr0", "vnet0"}};
    return domain;
  }

  void serve(const std::string& content) {
    reconciler.resynced({running(content)});
    reconciler.addresses_changed("web-uuid", {*IpAddress::parse("192.0.2.7")});
    relay.take();
  }

  ForwardView view(const std::string& id = "tcp:8080:80") {
    const ForwardView* found = table.forward("web-uuid", id);
    EXPECT_TRUE(found) << id;
    return found ? *found : ForwardView{};
  }
  std::string reason_of(const std::string& way) {
    for (const WayView& one : view().ways)
      if (one.way == way) return std::string(text(one.state)) + ": " + one.reason;
    return {};
  }

  const std::string simple_ = R"(<forward guest-port="80" host-port="8080"/>)";
  const std::string key_ = "web-uuid/tcp:8080:80";

  FakePorts ports;
  FakeRelay relay;
  PortHints hints{"/nonexistent/ports"};
  ForwardTable table{"test:///default"};
  Reconciler reconciler{Policy{}, ports, hints, table};
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

TEST_F(ReconcilerWays, OneThatIsTakenAwayIsSaid) {
  FakeOffload& offload = use(Offload::redirect);
  serve(simple_);
  reconciler.forward_proven(key_, 0);
  offload.on_loss({false, "somebody detached it"});
  EXPECT_EQ(view().offload, Offload::none);
  EXPECT_THAT(reason_of("redirect"), HasSubstr("somebody detached it"));
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

TEST_F(ReconcilerWays, AUserNetworkIsNotAskedForBeforeTheAgentIs) {
  FakeTunnels usernet(Transport::usernet);
  reconciler.use_tunnels(usernet);
  reconciler.use_agent_directory("/nonexistent");
  const std::string pinned = R"(<forward guest-port="81" host-port="8081" transport="usernet"/>)";
  DomainSnapshot domain = running(simple_ + pinned);
  domain.interfaces = {{"52:54:00:00:00:01", "user", "", "", "net0", ""}};
  reconciler.resynced({domain});
  const auto targets = [&] { return usernet.orders.at("web-uuid").targets.size(); };
  EXPECT_EQ(targets(), 1u);
  for (int turns = 0; turns < 1000 && targets() == 1; ++turns)
    g_main_context_iteration(nullptr, TRUE);
  EXPECT_EQ(targets(), 2u) << "nobody answers there";
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
  const auto wanted = reconciler.want(*reconciler.domain("web-uuid"), definition);
  ASSERT_FALSE(wanted);
  EXPECT_EQ(wanted.error().code, ErrorCode::not_supported);
  EXPECT_THAT(wanted.error().message, HasSubstr("<ssh>"));
  serve(R"(<forward guest-port="80" host-port="8080" transport="ssh"/>)");
  EXPECT_EQ(view().state, ForwardState::failed);
}

}  // namespace
}  // namespace vf
