// SPDX-License-Identifier: LGPL-2.1-or-later

#include "offload/nftables.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <array>

#include "fake_nft_host.h"
#include "offload/nft_ruleset.h"

namespace vf {
namespace {

using test::FakeKernel;
using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Not;
using ::testing::StartsWith;

const std::string mark = std::to_string(route_localnet_mark);
const std::string both_tables = "nft: " + nft_make_guard_table() + nft_make_own_table();

Endpoint endpoint(const char* address, unsigned port) {
  return {*IpAddress::parse(address), *Port::from(port)};
}

OffloadEntry entry(const char* key, unsigned port, const char* guest = "10.9.0.2",
                   const char* bridge = "virbr0") {
  return {key, Protocol::tcp, endpoint("127.0.0.1", port), endpoint(guest, 80), bridge};
}

class NftablesTest : public ::testing::Test {
 protected:
  void SetUp() override {
    kernel.links = {{1, "lo", 0}, {2, "virbr0", 0}, {3, "virbr1", 0}, {4, "eth0", 1}};
    kernel.routes = {{"10.9.0.2", "virbr0"}, {"10.9.0.3", "virbr0"}, {"10.8.0.2", "virbr1"}};
  }
  void start() {
    ASSERT_TRUE(
        offload->start({[this](const KernelOffload::Loss& loss) { losses.push_back(loss); }}));
    kernel.done.clear();
  }
  Result<void> add(const OffloadEntry& added) { return offload->apply({}, {&added, 1}); }
  Result<void> remove(const OffloadEntry& gone) { return offload->apply({&gone, 1}, {}); }
  void cut(const std::string& key) { offload->cut({&key, 1}); }

  TrackedFlow& connect(const OffloadEntry& to,
                       TrackedFlow::Phase phase = TrackedFlow::Phase::established) {
    TrackedFlow flow{to.protocol, endpoint("127.0.0.1", next_client), to.host, to.guest};
    flow.phase = phase;
    flow.id = next_client++;
    return kernel.flows.emplace_back(flow);
  }
  bool run_until(const std::function<bool()>& condition) {
    bool late = false;
    const Source alarm = after(std::chrono::seconds(10), [&] { late = true; });
    while (!condition() && !late)
      g_main_context_iteration(nullptr, TRUE);
    return !late;
  }

  FakeKernel kernel;
  unsigned next_client = 40000;
  std::vector<KernelOffload::Loss> losses;
  std::unique_ptr<NftablesOffload> offload =
      std::make_unique<NftablesOffload>([this]() -> Result<NftHost> { return kernel.open(); });
};

TEST_F(NftablesTest, StartPutsTheGuardInBothTables) {
  ASSERT_TRUE(offload->start({}));
  EXPECT_THAT(kernel.done, ElementsAre(both_tables));
  for (const auto& table : {nft_make_guard_table(), nft_make_own_table()})
    for (const char* side : {"saddr", "daddr"})
      EXPECT_THAT(table, HasSubstr("guard iifname != \"lo\" ip " + std::string(side) +
                                   " 127.0.0.0/8 drop"));
}

TEST_F(NftablesTest, StartSaysWhatIsMissing) {
  NftablesOffload lacking([]() -> Result<NftHost> {
    return Unexpected(ErrorCode::not_supported, "this build is without nftables");
  });
  EXPECT_EQ(lacking.start({}).error().message, "this build is without nftables");

  kernel.look_error = Error{ErrorCode::not_allowed, "nftables: Operation not permitted"};
  EXPECT_EQ(offload->start({}).error(), *kernel.look_error);
  EXPECT_THAT(kernel.done, IsEmpty());
}

TEST_F(NftablesTest, ASecondProcessIsRefusedAndTouchesNothing) {
  kernel.tables = {.own = true, .guard = "the other's"};
  kernel.link("virbr0")->route_localnet = route_localnet_mark;
  EXPECT_EQ(offload->start({}).error().code, ErrorCode::not_allowed);
  offload.reset();
  EXPECT_THAT(kernel.done, IsEmpty());
}

TEST_F(NftablesTest, StartClearsTheSysctlOfAKilledProcessBeforeItsTable) {
  kernel.tables.guard = "left";
  kernel.link("virbr1")->route_localnet = route_localnet_mark;
  connect(entry("a", 80, "10.8.0.2"));
  connect(entry("a", 80, "10.9.0.2"));  // not by our doing
  ASSERT_TRUE(offload->start({}));
  EXPECT_THAT(kernel.done, ElementsAre("end: 127.0.0.1:40000", "virbr1: 0", both_tables));
  EXPECT_EQ(kernel.link("eth0")->route_localnet, 1);
}

TEST_F(NftablesTest, TheSysctlIsSetBehindTheGuardAndBeforeTheElement) {
  start();
  ASSERT_TRUE(add(entry("a", 8080)));
  EXPECT_THAT(kernel.done,
              ElementsAre("virbr0: " + mark,
                          "nft: add element ip virt_forward tcp_forwards { 127.0.0.1 . 8080 : "
                          "10.9.0.2 . 80 }\nadd element ip virt_forward bridges { \"virbr0\" }\n"));
}

TEST_F(NftablesTest, AnAdministratorsSysctlIsLeftAlone) {
  start();
  const auto added = entry("a", 8080, "10.9.0.2", "eth0");
  ASSERT_TRUE(add(added));
  ASSERT_TRUE(remove(added));
  offload.reset();
  EXPECT_EQ(kernel.link("eth0")->route_localnet, 1);
  EXPECT_THAT(kernel.done, Not(::testing::Contains(StartsWith("eth0"))));
}

TEST_F(NftablesTest, OneTransactionForEverythingGoneAndAdded) {
  start();
  OffloadEntry udp = entry("u", 53);
  udp.protocol = Protocol::udp;
  const std::array before{entry("a", 8080), entry("b", 8081), udp};
  ASSERT_TRUE(offload->apply({}, before));
  kernel.done.clear();
  const std::array after{entry("a", 8080, "10.8.0.2", "virbr1")};
  ASSERT_TRUE(offload->apply(before, after));
  EXPECT_THAT(kernel.done,
              ElementsAre("virbr1: " + mark,
                          "nft: delete element ip virt_forward tcp_forwards { 127.0.0.1 . 8080, "
                          "127.0.0.1 . 8081 }\n"
                          "delete element ip virt_forward udp_forwards { 127.0.0.1 . 53 }\n"
                          "delete element ip virt_forward bridges { \"virbr0\" }\n"
                          "add element ip virt_forward tcp_forwards { 127.0.0.1 . 8080 : 10.8.0.2 "
                          ". 80 }\n"
                          "add element ip virt_forward bridges { \"virbr1\" }\n"));
}

TEST_F(NftablesTest, WhatIsThereAlreadyChangesNothing) {
  start();
  ASSERT_TRUE(add(entry("a", 8080)));
  kernel.done.clear();
  ASSERT_TRUE(add(entry("a", 8080)));
  ASSERT_TRUE(remove(entry("b", 8081)));
  ASSERT_TRUE(remove(entry("b", 8080)));
  ASSERT_TRUE(remove(entry("a", 8080, "10.9.0.3")));
  EXPECT_THAT(kernel.done, IsEmpty());
  EXPECT_EQ(add(entry("b", 8080)).error().code, ErrorCode::invalid_argument);
}

TEST_F(NftablesTest, AFailedTransactionUndoesTheSysctl) {
  start();
  kernel.nft_error = Error{ErrorCode::failed, "nftables: no"};
  EXPECT_EQ(add(entry("a", 8080)).error().message, "nftables: no");
  EXPECT_THAT(kernel.done, ElementsAre("virbr0: " + mark, "virbr0: 0"));
  kernel.nft_error.reset();
  ASSERT_TRUE(add(entry("a", 8080)));
}

TEST_F(NftablesTest, AMissingBridgeIsAnError) {
  start();
  const std::array added{entry("a", 8080), entry("b", 8081, "10.9.0.2", "virbr7")};
  const auto applied = offload->apply({}, added);
  ASSERT_FALSE(applied);
  EXPECT_THAT(applied.error().message, HasSubstr("virbr7"));
  EXPECT_THAT(kernel.done, ElementsAre("virbr0: " + mark, "virbr0: 0"));
}

TEST_F(NftablesTest, ATransactionThatFindsItsTableGoneMakesItAgain) {
  start();
  ASSERT_TRUE(add(entry("a", 8080)));
  kernel.done.clear();
  kernel.own_lost_once = true;
  ASSERT_TRUE(add(entry("b", 8081)));
  EXPECT_THAT(kernel.done,
              ElementsAre(AllOf(StartsWith("nft: " + nft_make_own_table()), HasSubstr(". 8080")),
                          HasSubstr(". 8081")));
}

TEST_F(NftablesTest, AdmitsOnlyWhatCanBeTranslated) {
  EXPECT_TRUE(offload->admits(entry("a", 80)));
  OffloadEntry six = entry("a", 80);
  six.host = endpoint("::1", 80);
  EXPECT_THAT(offload->admits(six).error().message, HasSubstr("not to ::1"));
  OffloadEntry lan = entry("a", 80);
  lan.host = endpoint("192.168.1.2", 80);
  EXPECT_THAT(offload->admits(lan).error().message, HasSubstr("127.0.0.1 only"));
  OffloadEntry second = entry("a", 80);
  second.host = endpoint("127.0.0.2", 80);
  EXPECT_FALSE(offload->admits(second));
  EXPECT_FALSE(offload->admits(entry("a", 80, "fd00::2")));
  EXPECT_FALSE(offload->admits(entry("a", 80, "127.0.0.1")));
  for (const char* name : {"", "a\"b", "virbr*", "a b", "a-name-too-long-"})
    EXPECT_FALSE(offload->admits(entry("a", 80, "10.9.0.2", name))) << name;
  start();
  EXPECT_FALSE(add(six));
  EXPECT_THAT(kernel.done, IsEmpty());
}

TEST_F(NftablesTest, TheSysctlStaysWhileAConnectionNeedsIt) {
  start();
  ASSERT_TRUE(add(entry("a", 8080)));
  connect(entry("a", 8080));
  ASSERT_TRUE(remove(entry("a", 8080)));
  kernel.done.clear();
  // A second bridge shows that sweeps went by.
  ASSERT_TRUE(add(entry("b", 8081, "10.8.0.2", "virbr1")));
  ASSERT_TRUE(remove(entry("b", 8081, "10.8.0.2", "virbr1")));
  ASSERT_TRUE(run_until([&] { return kernel.link("virbr1")->route_localnet == 0; }));
  EXPECT_EQ(kernel.link("virbr0")->route_localnet, route_localnet_mark);
  EXPECT_EQ(offload->counts()->at("a").connections, 1);
  kernel.flows[0].phase = TrackedFlow::Phase::over;
  ASSERT_TRUE(run_until([&] { return kernel.link("virbr0")->route_localnet == 0; }));
}

TEST_F(NftablesTest, NothingStandsOnceNothingNeedsIt) {
  start();
  ASSERT_TRUE(add(entry("a", 8080)));
  ASSERT_TRUE(add(entry("b", 8081)));
  connect(entry("b", 8081));
  ASSERT_TRUE(remove(entry("a", 8080)));
  ASSERT_TRUE(remove(entry("b", 8081)));
  // A second bridge shows that sweeps went by.
  ASSERT_TRUE(add(entry("c", 8082, "10.8.0.2", "virbr1")));
  ASSERT_TRUE(remove(entry("c", 8082, "10.8.0.2", "virbr1")));
  ASSERT_TRUE(run_until([&] { return kernel.link("virbr1")->route_localnet == 0; }));
  EXPECT_TRUE(kernel.tables.own) << "a connection is translated still";
  kernel.flows[0].phase = TrackedFlow::Phase::over;
  ASSERT_TRUE(run_until([&] { return !kernel.tables.own; }));
  EXPECT_EQ(kernel.tables.guard, "");
  EXPECT_EQ(kernel.link("virbr0")->route_localnet, 0);
  EXPECT_THAT(losses, IsEmpty());

  ASSERT_TRUE(add(entry("a", 8080)));
  EXPECT_TRUE(kernel.tables.own);
  EXPECT_NE(kernel.tables.guard, "");
}

TEST_F(NftablesTest, CutEndsExactlyItsConnections) {
  start();
  const std::array entries{entry("a", 8080), entry("b", 8081), entry("a", 8082, "10.9.0.3")};
  ASSERT_TRUE(offload->apply({}, entries));
  for (const auto& one : entries)
    connect(one);
  connect(entry("x", 8080, "10.9.0.3"));  // another's translation
  ASSERT_TRUE(remove(entries[0]));
  kernel.done.clear();
  cut("a");
  EXPECT_THAT(kernel.done, ElementsAre("end: 127.0.0.1:40000", "end: 127.0.0.1:40002"));
}

TEST_F(NftablesTest, CutEndsWhatSlippedThrough) {
  start();
  ASSERT_TRUE(add(entry("a", 8080)));
  ASSERT_TRUE(remove(entry("a", 8080)));
  cut("a");
  connect(entry("a", 8080), TrackedFlow::Phase::begun);
  EXPECT_TRUE(run_until([&] { return kernel.flows.empty(); }));
  EXPECT_TRUE(run_until([&] { return kernel.link("virbr0")->route_localnet == 0; }));
}

TEST_F(NftablesTest, AForwardThatTakesAWayOverHasItsConnections) {
  start();
  ASSERT_TRUE(add(entry("a", 8080)));
  connect(entry("a", 8080));
  const auto old = entry("a", 8080);
  const auto renamed = entry("b", 8080);
  kernel.done.clear();
  ASSERT_TRUE(offload->apply({&old, 1}, {&renamed, 1}));
  cut("a");
  EXPECT_THAT(kernel.done, IsEmpty());
  EXPECT_EQ(offload->counts()->at("b").connections, 1);
}

TEST_F(NftablesTest, CountsBytesOnlyWhereAllAreKnown) {
  start();
  ASSERT_TRUE(add(entry("a", 8080)));
  EXPECT_THAT(*offload->counts(), IsEmpty());
  connect(entry("a", 8080), TrackedFlow::Phase::begun);
  connect(entry("a", 8080), TrackedFlow::Phase::over);
  connect(entry("a", 8080, "10.9.0.3"));  // another's translation
  EXPECT_THAT(*offload->counts(), IsEmpty());
  for (int i = 0; i < 2; ++i) {
    auto& flow = connect(entry("a", 8080));
    flow.bytes_to_guest = 10;
    flow.bytes_from_guest = 20;
  }
  auto count = offload->counts()->at("a");
  EXPECT_EQ(count.connections, 2);
  EXPECT_EQ(count.bytes_in, 20);
  EXPECT_EQ(count.bytes_out, 40);
  kernel.flows.back().bytes_to_guest.reset();
  connect(entry("a", 8080)).bytes_to_guest = 5;
  count = offload->counts()->at("a");
  EXPECT_EQ(count.connections, 3);
  EXPECT_EQ(count.bytes_in, std::nullopt);
  EXPECT_EQ(count.bytes_out, std::nullopt);
}

TEST_F(NftablesTest, AFlushIsMendedInOneTransaction) {
  start();
  ASSERT_TRUE(add(entry("a", 8080)));
  kernel.done.clear();
  kernel.tables.guard.clear();
  kernel.on_tables();
  EXPECT_THAT(kernel.done, ElementsAre("nft: " + nft_make_guard_table()));
  ASSERT_EQ(losses.size(), 1);
  EXPECT_TRUE(losses[0].mended);
  EXPECT_THAT(losses[0].reason, HasSubstr("virt_forward_guard"));
  kernel.on_tables();  // of our own transaction
  EXPECT_EQ(losses.size(), 1);
}

TEST_F(NftablesTest, AChangedGuardIsMended) {
  start();
  kernel.tables.guard += " and a rule that accepts";
  kernel.on_tables();
  EXPECT_THAT(kernel.done, ElementsAre("nft: " + nft_make_guard_table()));
  ASSERT_EQ(losses.size(), 1);
  EXPECT_TRUE(losses[0].mended);
}

TEST_F(NftablesTest, TheOwnTableComesBackWithAllItTook) {
  start();
  ASSERT_TRUE(add(entry("a", 8080)));
  kernel.done.clear();
  kernel.tables.own = false;
  kernel.on_tables();
  EXPECT_THAT(kernel.done, ElementsAre(AllOf(StartsWith("nft: " + nft_make_own_table()),
                                             HasSubstr("127.0.0.1 . 8080 : 10.9.0.2 . 80"),
                                             HasSubstr("\"virbr0\""))));
  EXPECT_TRUE(losses.at(0).mended);
}

TEST_F(NftablesTest, WhoTakesTheGuardAwayForEverWins) {
  start();
  ASSERT_TRUE(add(entry("a", 8080)));
  for (int i = 0; i < 100 && (losses.empty() || losses.back().mended); ++i) {
    kernel.tables.guard.clear();
    kernel.on_tables();
  }
  EXPECT_EQ(losses.size(), 11);
  EXPECT_FALSE(losses.back().mended);
  EXPECT_EQ(kernel.link("virbr0")->route_localnet, 0);
  EXPECT_FALSE(kernel.tables.own);
  kernel.done.clear();
  ASSERT_TRUE(add(entry("a", 8080)));
  EXPECT_THAT(kernel.done, ElementsAre(both_tables, "virbr0: " + mark, HasSubstr(". 8080")));
}

TEST_F(NftablesTest, WhatCannotBeMendedIsClosedSysctlFirst) {
  start();
  ASSERT_TRUE(add(entry("a", 8080)));
  connect(entry("a", 8080));
  kernel.done.clear();
  kernel.tables.guard.clear();
  kernel.nft_error = Error{ErrorCode::failed, "nftables: no"};
  kernel.on_tables();
  EXPECT_THAT(kernel.done, ElementsAre("end: 127.0.0.1:40000", "virbr0: 0"));
  ASSERT_EQ(losses.size(), 1);
  EXPECT_FALSE(losses[0].mended);
  EXPECT_THAT(losses[0].reason, HasSubstr("nftables: no"));
  // What could not be removed is made anew.
  ASSERT_TRUE(kernel.tables.own);
  kernel.nft_error.reset();
  kernel.done.clear();
  ASSERT_TRUE(add(entry("b", 8081)));
  EXPECT_THAT(kernel.done, ElementsAre("nft: " + nft_make_guard_table() + nft_remove_own_table() +
                                           nft_make_own_table(),
                                       "virbr0: " + mark, HasSubstr(". 8081")));
}

TEST_F(NftablesTest, ABridgeThatComesBackIsOpenedAgain) {
  start();
  ASSERT_TRUE(add(entry("a", 8080)));
  *kernel.link("virbr0") = {9, "virbr0", 0};
  kernel.done.clear();
  kernel.on_links(std::set<std::string>{"virbr1"});
  EXPECT_THAT(kernel.done, IsEmpty());
  kernel.on_links(std::set<std::string>{"virbr0"});
  EXPECT_THAT(kernel.done, ElementsAre("virbr0: " + mark));
  kernel.link("virbr0")->route_localnet = 0;
  kernel.on_links(std::nullopt);
  EXPECT_THAT(kernel.done, ElementsAre("virbr0: " + mark, "virbr0: " + mark));
  kernel.link("virbr0")->route_localnet = 0;
  ASSERT_TRUE(add(entry("a", 8080)));
  EXPECT_EQ(kernel.link("virbr0")->route_localnet, route_localnet_mark);
}

TEST_F(NftablesTest, ARenamedBridgeIsClosed) {
  start();
  ASSERT_TRUE(add(entry("a", 8080)));
  kernel.link("virbr0")->name = "other";
  kernel.on_links(std::set<std::string>{"virbr0", "other"});
  EXPECT_EQ(kernel.link("other")->route_localnet, 0);
}

TEST_F(NftablesTest, WithoutThePrivilegeToOpenItsBridgeNothingIsTaken) {
  start();
  ASSERT_TRUE(add(entry("a", 8080)));
  kernel.link("virbr0")->route_localnet = 0;
  kernel.set_error = Error{ErrorCode::not_allowed, "no"};
  kernel.on_links(std::nullopt);
  ASSERT_EQ(losses.size(), 1);
  EXPECT_FALSE(losses[0].mended);
  EXPECT_FALSE(kernel.tables.own);
}

TEST_F(NftablesTest, UndoesInReverse) {
  start();
  ASSERT_TRUE(add(entry("a", 8080)));
  connect(entry("a", 8080));
  kernel.done.clear();
  offload.reset();
  EXPECT_THAT(kernel.done,
              ElementsAre("nft: " + nft_empty_own_table(), "end: 127.0.0.1:40000", "virbr0: 0",
                          "nft: " + nft_remove_guard_table(), "nft: " + nft_remove_own_table()));
}

TEST_F(NftablesTest, TheGuardStaysWhereTheSysctlCannotBeSetBack) {
  start();
  ASSERT_TRUE(add(entry("a", 8080)));
  kernel.set_error = Error{ErrorCode::not_allowed, "no"};
  offload.reset();
  EXPECT_NE(kernel.tables.guard, "");
  EXPECT_FALSE(kernel.tables.own);
}

TEST_F(NftablesTest, ClearsRestsFromOutside) {
  kernel.tables.guard = "left";
  kernel.link("virbr0")->route_localnet = route_localnet_mark;
  auto host = kernel.open();
  ASSERT_TRUE(clear_nftables_rests(host));
  EXPECT_THAT(kernel.done, ElementsAre("virbr0: 0", "nft: " + nft_remove_guard_table()));
}

}  // namespace
}  // namespace vf
