// SPDX-License-Identifier: LGPL-2.1-or-later
//
// The host against libvirt's test driver, which lives in this process. Another connection to
// test:///default shares its domains and plays virsh.

#include "plugin/libvirt_host.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <chrono>
#include <cstdio>
#include <fstream>

#include "main_loop.h"
#include "plugin/libvirt_handles.h"
#include "recorder.h"

namespace vf {
namespace {

using test::Recorder;
using test::run_until;
using ::testing::HasSubstr;

constexpr const char* uri = "urn:virt-forward:1";
constexpr const char* element = R"(<forwards><forward guest-port="80"/></forwards>)";

class LibvirtHostTest : public ::testing::Test {
 protected:
  void connect() {
    host = std::make_unique<LibvirtHost>("test:///default", recorder);
    host->start();
    ASSERT_TRUE(run_until([&] { return recorder.resyncs > 0; }));
    other = share_connect(virConnectOpen("test:///default"));
    domain.reset(virDomainLookupByName(other.get(), "test"));
    ASSERT_TRUE(domain);
    uuid = uuid_of(domain.get());
  }

  ~LibvirtHostTest() override {
    if (!domain) return;
    virDomainSetMetadata(domain.get(), VIR_DOMAIN_METADATA_ELEMENT, nullptr, nullptr, uri,
                         VIR_DOMAIN_AFFECT_CONFIG);
    virDomainSetMetadata(domain.get(), VIR_DOMAIN_METADATA_ELEMENT, nullptr, nullptr, uri,
                         VIR_DOMAIN_AFFECT_LIVE);
    virDomainCreate(domain.get());
  }

  void set(const char* text, unsigned flags) {
    ASSERT_EQ(
        virDomainSetMetadata(domain.get(), VIR_DOMAIN_METADATA_ELEMENT, text, "vf", uri, flags), 0);
  }

  Result<void> edit(MetadataTarget target, LibvirtHost::Edit edit) {
    std::optional<Result<void>> result;
    host->edit_metadata(uuid, target, std::move(edit),
                        [&](Result<void> done) { result = std::move(done); });
    EXPECT_TRUE(run_until([&] { return result.has_value(); }));
    return result ? *result : Unexpected(ErrorCode::failed, "no answer");
  }

  Recorder recorder;
  std::unique_ptr<LibvirtHost> host;
  ConnectHandle other;
  DomainHandle domain;
  std::string uuid;
};

TEST_F(LibvirtHostTest, ReportsTheDomainsAfterTheConnectionCameUp) {
  connect();
  EXPECT_TRUE(host->connected());
  EXPECT_EQ(recorder.reasons, std::vector<std::string>{""});
  ASSERT_EQ(recorder.domains.size(), 1u);
  const DomainSnapshot& test = recorder.domains["test"];
  EXPECT_TRUE(test.active);
  EXPECT_TRUE(test.serving);
  EXPECT_TRUE(test.persistent);
  EXPECT_EQ(test.uuid.size(), 36u);
  EXPECT_EQ(test.live_metadata, "");
}

TEST_F(LibvirtHostTest, SeesMetadataThatAnotherProgramSets) {
  connect();
  set(element, VIR_DOMAIN_AFFECT_LIVE);
  ASSERT_TRUE(run_until([&] { return !recorder.domains["test"].live_metadata.empty(); }));
  EXPECT_THAT(recorder.domains["test"].live_metadata, HasSubstr(R"(guest-port="80")"));
  EXPECT_EQ(recorder.domains["test"].config_metadata, "");
  set(nullptr, VIR_DOMAIN_AFFECT_LIVE);
  EXPECT_TRUE(run_until([&] { return recorder.domains["test"].live_metadata.empty(); }));
}

TEST_F(LibvirtHostTest, FollowsStopAndStart) {
  connect();
  ASSERT_EQ(virDomainDestroy(domain.get()), 0);
  ASSERT_TRUE(run_until([&] { return !recorder.domains["test"].active; }));
  EXPECT_FALSE(recorder.domains["test"].serving);
  EXPECT_FALSE(recorder.domains["test"].id);
  ASSERT_EQ(virDomainCreate(domain.get()), 0);
  EXPECT_TRUE(run_until([&] { return recorder.domains["test"].serving; }));
}

TEST_F(LibvirtHostTest, ASuspendedDomainGoesOnServing) {
  connect();
  ASSERT_EQ(virDomainSuspend(domain.get()), 0);
  host->refresh_all();
  ASSERT_TRUE(run_until([&] { return recorder.resyncs == 2; }));
  EXPECT_TRUE(recorder.domains["test"].serving);
  virDomainResume(domain.get());
}

TEST_F(LibvirtHostTest, ATransientDomainComesAndGoes) {
  connect();
  const DomainHandle guest(virDomainCreateXML(
      other.get(),
      "<domain type='test'><name>fleeting</name><memory>1000</memory>"
      "<metadata><vf:forwards xmlns:vf='urn:virt-forward:1'><vf:auto/></vf:forwards></metadata>"
      "<os><type>hvm</type></os><devices>"
      "<interface type='bridge'><mac address='52:54:00:AB:00:01'/><source bridge='br7'/>"
      "<target dev='tap7'/></interface></devices></domain>",
      0));
  ASSERT_TRUE(guest);
  ASSERT_TRUE(run_until([&] { return recorder.domains.contains("fleeting"); }));
  const DomainSnapshot& snapshot = recorder.domains["fleeting"];
  EXPECT_FALSE(snapshot.persistent);
  EXPECT_THAT(snapshot.live_metadata, HasSubstr("<auto/>"));
  EXPECT_EQ(snapshot.config_metadata, "");
  ASSERT_EQ(snapshot.interfaces.size(), 1u);
  EXPECT_EQ(snapshot.interfaces[0], (GuestInterface{"52:54:00:ab:00:01", "bridge", "br7", "tap7"}));
  virDomainDestroy(guest.get());
  EXPECT_TRUE(run_until([&] { return recorder.gone == 1; }));
}

TEST_F(LibvirtHostTest, ARefreshWithoutADifferenceReportsNothing) {
  connect();
  for (int i = 0; i < 100; ++i)
    host->refresh(uuid);
  host->refresh_all();
  ASSERT_TRUE(run_until([&] { return recorder.resyncs == 2; }));
  EXPECT_EQ(recorder.changes, 0);
}

TEST_F(LibvirtHostTest, AStartEndsTheRunBeforeAndNeverALaterOne) {
  connect();
  const auto now = [] { return std::chrono::steady_clock::now().time_since_epoch(); };
  const int run = recorder.domains["test"].id.value_or(-1);
  host->starting(uuid, run, now());
  EXPECT_TRUE(recorder.domains["test"].active);
  const auto early = now();
  host->starting(uuid, run + 1, early);
  EXPECT_FALSE(recorder.domains["test"].active);
  EXPECT_EQ(recorder.changes, 1);

  // The driver knows better, and was asked later.
  host->refresh(uuid);
  ASSERT_TRUE(run_until([&] { return recorder.domains["test"].active; }));
  host->starting(uuid, run + 1, early);
  EXPECT_TRUE(recorder.domains["test"].active);

  // One from the future does not shut out what is read from here on.
  host->starting(uuid, run + 1, now() + std::chrono::hours(1));
  EXPECT_FALSE(recorder.domains["test"].active);
  host->refresh(uuid);
  EXPECT_TRUE(run_until([&] { return recorder.domains["test"].active; }));
}

TEST_F(LibvirtHostTest, EditsLiveAndConfigEachFromItsOwnContent) {
  connect();
  set("<forwards><forward guest-port='1'/></forwards>", VIR_DOMAIN_AFFECT_LIVE);
  set("<forwards><forward guest-port='2'/></forwards>", VIR_DOMAIN_AFFECT_CONFIG);
  const auto append = [](const std::string& before) -> Result<std::string> {
    std::string text = before;
    text.insert(text.find("</forwards>"), "<forward guest-port='3'/>");
    return text;
  };
  ASSERT_TRUE(edit({.live = true, .config = true}, append));
  // The edit was reported before it was done.
  const DomainSnapshot& snapshot = recorder.domains["test"];
  EXPECT_THAT(snapshot.live_metadata, HasSubstr(R"("1"/>)"));
  EXPECT_THAT(snapshot.live_metadata, HasSubstr(R"("3"/>)"));
  EXPECT_THAT(snapshot.config_metadata, HasSubstr(R"("2"/>)"));
  EXPECT_THAT(snapshot.config_metadata, HasSubstr(R"("3"/>)"));
}

TEST_F(LibvirtHostTest, AnEmptyEditRemovesTheElement) {
  connect();
  set(element, VIR_DOMAIN_AFFECT_LIVE);
  ASSERT_TRUE(edit({.live = true}, [](const std::string&) { return std::string(); }));
  EXPECT_EQ(
      virDomainGetMetadata(domain.get(), VIR_DOMAIN_METADATA_ELEMENT, uri, VIR_DOMAIN_AFFECT_LIVE),
      nullptr);
}

TEST_F(LibvirtHostTest, AnElementThatLibvirtSpellsOtherwiseIsStillOurs) {
  connect();
  int calls = 0;
  ASSERT_TRUE(edit({.live = true}, [&](const std::string&) -> Result<std::string> {
    ++calls;
    return std::string("<forwards>\n\t<auto  enabled='yes'></auto></forwards>");
  }));
  EXPECT_EQ(calls, 1);
  EXPECT_THAT(recorder.domains["test"].live_metadata, HasSubstr("auto"));
}

TEST_F(LibvirtHostTest, ManyEditsOfOneDomainLoseNothing) {
  connect();
  int done = 0;
  constexpr int count = 50;
  for (int i = 1; i <= count; ++i)
    host->edit_metadata(
        uuid, {.live = true},
        [i](const std::string& before) -> Result<std::string> {
          std::string text = before.empty() ? "<forwards><a/></forwards>" : before;
          text.insert(text.find("</forwards>"),
                      "<forward guest-port='" + std::to_string(i) + "'/>");
          return text;
        },
        [&](Result<void> result) { done += result ? 1 : 0; });
  ASSERT_TRUE(run_until([&] { return done == count; }));
  for (int i = 1; i <= count; ++i)
    EXPECT_THAT(recorder.domains["test"].live_metadata,
                HasSubstr('"' + std::to_string(i) + "\"/>"));
}

TEST_F(LibvirtHostTest, EditErrorsHaveNames) {
  connect();
  const auto keep = [](const std::string& before) -> Result<std::string> { return before; };
  EXPECT_EQ(edit({.live = true},
                 [](const std::string&) -> Result<std::string> {
                   return Unexpected(ErrorCode::no_such_forward, "none");
                 })
                .error(),
            (Error{ErrorCode::no_such_forward, "none"}));
  virDomainDestroy(domain.get());
  EXPECT_EQ(edit({.live = true}, keep).error().code, ErrorCode::domain_not_running);
  EXPECT_TRUE(edit({.config = true}, keep));
  uuid = "00000000-0000-0000-0000-000000000001";
  EXPECT_EQ(edit({.config = true}, keep).error().code, ErrorCode::no_such_domain);
}

// The test driver has no QEMU: what it has to say is an error, and it comes.
TEST_F(LibvirtHostTest, AMonitorsErrorsHaveNames) {
  connect();
  const auto ask = [&](const std::string& whom) {
    std::optional<Result<std::string>> reply;
    host->human_monitor(whom, "info usernet", [&](Result<std::string> said) { reply = said; });
    EXPECT_FALSE(reply);
    EXPECT_TRUE(run_until([&] { return reply.has_value(); }));
    return reply->has_value() ? ErrorCode::failed : reply->error().code;
  };
  EXPECT_EQ(ask(uuid), ErrorCode::not_supported);
  EXPECT_EQ(ask("00000000-0000-0000-0000-000000000001"), ErrorCode::no_such_domain);
}

TEST_F(LibvirtHostTest, AFailedEditLeavesBothSidesAsTheyWere) {
  connect();
  set(element, VIR_DOMAIN_AFFECT_LIVE);
  // Well-formed enough for the first, not for the second side.
  bool first = true;
  const Result<void> result =
      edit({.live = true, .config = true}, [&](const std::string&) -> Result<std::string> {
        return std::string(std::exchange(first, false) ? "<forwards/>" : "<not well-formed");
      });
  ASSERT_FALSE(result);
  const LibvirtText text(
      virDomainGetMetadata(domain.get(), VIR_DOMAIN_METADATA_ELEMENT, uri, VIR_DOMAIN_AFFECT_LIVE));
  ASSERT_TRUE(text);
  EXPECT_THAT(text.get(), HasSubstr(R"(guest-port="80")"));
}

TEST(LibvirtHost, ReportsWhyItCannotConnect) {
  Recorder recorder;
  LibvirtHost host("test:///no/such/file.xml", recorder);
  host.start();
  ASSERT_TRUE(run_until([&] { return !recorder.reasons.empty(); }));
  EXPECT_THAT(recorder.reasons[0], HasSubstr("no/such/file.xml"));
  EXPECT_FALSE(host.connected());
  std::optional<Result<void>> result;
  host.edit_metadata("x", {.live = true}, {}, [&](Result<void> done) { result = done; });
  ASSERT_TRUE(run_until([&] { return result.has_value(); }));
  EXPECT_EQ(result->error().code, ErrorCode::failed);
  std::optional<Result<std::string>> reply;
  host.human_monitor("x", "info usernet", [&](Result<std::string> said) { reply = said; });
  ASSERT_TRUE(run_until([&] { return reply.has_value(); }));
  EXPECT_THAT(reply->error().message, HasSubstr("no/such/file.xml"));
}

TEST(LibvirtHost, ComesUpWhenLibvirtDoes) {
  const std::string path = ::testing::TempDir() + "vf-late-node.xml";
  std::remove(path.c_str());
  Recorder recorder;
  LibvirtHost host("test://" + path, recorder);
  host.start();
  ASSERT_TRUE(run_until([&] { return !recorder.reasons.empty(); }));
  std::ofstream(path) << "<node/>";
  EXPECT_TRUE(run_until([&] { return host.connected(); }));
  EXPECT_EQ(recorder.reasons.back(), "");
  std::remove(path.c_str());
}

TEST(LibvirtHost, NothingIsReportedAfterItsEnd) {
  Recorder recorder;
  for (int i = 0; i < 20; ++i) {
    LibvirtHost host("test:///default", recorder);
    host.start();
    for (int turn = 0; turn < i; ++turn)
      g_main_context_iteration(nullptr, FALSE);
  }
  const int resyncs = recorder.resyncs;
  while (g_main_context_iteration(nullptr, FALSE)) {
  }
  EXPECT_EQ(recorder.resyncs, resyncs);
}

TEST(LibvirtHost, AThousandDomainsAreReadAnew) {
  const std::string path = ::testing::TempDir() + "vf-thousand-node.xml";
  {
    std::ofstream file(path);
    file << "<node>";
    for (int i = 0; i < 1000; ++i) {
      file << "<domain type='test'><name>d" << i << "</name><memory>1000</memory><metadata>"
           << "<vf:forwards xmlns:vf='urn:virt-forward:1'>";
      for (int port = 1; port <= 5; ++port)
        file << "<vf:forward guest-port='" << port << "'/>";
      file << "</vf:forwards></metadata><os><type>hvm</type></os></domain>";
    }
    file << "</node>";
  }
  Recorder recorder;
  LibvirtHost host("test://" + path, recorder);
  host.start();
  ASSERT_TRUE(run_until([&] { return recorder.resyncs == 1; }, 60));
  EXPECT_EQ(recorder.domains.size(), 1000u);
  const auto begin = std::chrono::steady_clock::now();
  host.refresh_all();
  ASSERT_TRUE(run_until([&] { return recorder.resyncs == 2; }, 60));
  const std::chrono::duration<double> taken = std::chrono::steady_clock::now() - begin;
  RecordProperty("resync_ms", static_cast<int>(taken.count() * 1000));
  EXPECT_THAT(recorder.domains["d999"].live_metadata, HasSubstr(R"("5"/>)"));
  std::remove(path.c_str());
}

}  // namespace
}  // namespace vf
