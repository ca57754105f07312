// SPDX-License-Identifier: LGPL-2.1-or-later

#include <gmock/gmock.h>

#include <fstream>

#include "program_lab.h"

namespace vf {
namespace {

using testing::HasSubstr;
using testing::Not;

class ImportExport : public ProgramLab {
 protected:
  ImportExport() {
    daemon_.model.add(fake_domain());
    daemon_.model.add(fake_forward());
    daemon_.controller.added = std::vector{fake_forward()};
  }
  std::string file(const std::string& text) {
    const std::string path = directory_.path("forwards");
    std::ofstream(path) << text;
    return path;
  }
  // What the daemon was asked but to read.
  std::vector<FakeController::Asked> edits() {
    std::vector<FakeController::Asked> edits;
    for (const auto& asked : daemon_.controller.asked)
      if (asked.forward != "metadata" && asked.forward != "dry-run") edits.push_back(asked);
    return edits;
  }
};

TEST_F(ImportExport, AddsAllAtOnceInTheirOrder) {
  const ProgramResult result =
      run({"import", "web", file("8080:80\n2222:22 name=ssh\n"), "--persistent"});
  EXPECT_EQ(result.status, 0) << result.err;
  EXPECT_THAT(result.out, HasSubstr("FORWARD"));
  EXPECT_THAT(result.out, HasSubstr("http://127.0.0.1:8080"));
  const auto asked = edits();
  ASSERT_EQ(asked.size(), 2u);
  EXPECT_EQ(daemon_.controller.additions, 1);
  EXPECT_TRUE(asked[0].scope.persistent && asked[1].scope.persistent);
  EXPECT_EQ(asked[0].attributes, (ForwardAttributes{{"guest-port", "80"}, {"host-port", "8080"}}));
  EXPECT_EQ(asked[1].attributes,
            (ForwardAttributes{{"name", "ssh"}, {"guest-port", "22"}, {"host-port", "2222"}}));
}

TEST_F(ImportExport, NothingToAddIsNoTableAndNoHint) {
  const ProgramResult result = run({"import", "web", file("")});
  EXPECT_EQ(result.status, 0);
  EXPECT_EQ(result.out, "");
  EXPECT_THAT(result.err, HasSubstr("has no forwards; nothing is added\n"));
  EXPECT_THAT(result.err, Not(HasSubstr("next start")));
  EXPECT_EQ(run({"import", "web", file("# none\n"), "--json"}).out, "[]\n");
}

TEST_F(ImportExport, WhatTheNextStartHasAlreadyDoesNotPass) {
  EXPECT_THAT(run({"import", "web", file("8080:80\n")}).err, HasSubstr("gone at the next start"));
  ForwardView lasting = fake_forward();
  lasting.config = true;
  daemon_.model.change(lasting);
  EXPECT_EQ(run({"import", "web", file("8080:80\n")}).err, "");
}

TEST_F(ImportExport, PortsThatAreTakenAreOneLine) {
  std::vector<ForwardView> views;
  for (const unsigned port : {8080u, 8081u}) {
    ForwardView view = fake_forward("games#" + std::to_string(port));
    view.requested_port = Port::from(port);
    view.host_port = Port::from(port + 2);
    daemon_.model.add(view);
    views.push_back(view);
  }
  daemon_.controller.added = views;
  EXPECT_EQ(run({"import", "web", file("8080-8081:8000-8001\n"), "--persistent"}).err,
            "virt-forward: 8080-8081 is not free; using 8082-8083\n");
}

TEST_F(ImportExport, AMistakeAnywhereAddsNothing) {
  const ProgramResult result = run({"import", "web", file("8080:80\n\n0:22\n8081:99999\n")});
  EXPECT_EQ(result.status, 2);
  EXPECT_THAT(result.err, HasSubstr("line 3"));
  EXPECT_THAT(result.err, HasSubstr("line 4"));
  EXPECT_THAT(result.err, HasSubstr("nothing was added"));
  EXPECT_TRUE(edits().empty());
}

TEST_F(ImportExport, AForwardThatIsThereAlreadyIsAMistake) {
  daemon_.controller.element =
      std::string("<forwards><forward guest-port='22' host-port='2222'/></forwards>");
  const ProgramResult result = run({"import", "web", file("8080:80\n2222:22\n")});
  EXPECT_EQ(result.status, 2);
  EXPECT_THAT(result.err, HasSubstr("line 2: \"web\" already has the forward \"tcp:2222:22\""));
  EXPECT_TRUE(edits().empty());
  EXPECT_EQ(run({"import", "web", file("2222:22\n"), "--dry-run"}).status, 2);
}

TEST_F(ImportExport, OneThatCannotBeHadIsNamedByItsPlace) {
  daemon_.controller.added = Unexpected(ErrorCode::port_busy, "entry 2: 2222 is busy");
  const std::string list = file("8080:80\n\n2222:22\n9:9\n");
  const ProgramResult result = run({"import", "web", list, "--live"});
  EXPECT_EQ(result.status, 5);
  EXPECT_THAT(result.err, HasSubstr("virt-forward: line 3: 2222 is busy\n"));
  EXPECT_THAT(result.err, HasSubstr("nothing was added"));
  EXPECT_EQ(result.out, "");
  EXPECT_EQ(edits().size(), 3u);
  EXPECT_EQ(daemon_.controller.additions, 1);
  EXPECT_EQ(run({"import", "web", list, "--dry-run"}).status, 5);
  EXPECT_EQ(daemon_.controller.additions, 1);
}

TEST_F(ImportExport, WhereTheDaemonFailsItSaysItselfWhatIsSo) {
  daemon_.controller.added = Unexpected(ErrorCode::failed, "its next start has the change");
  const ProgramResult result = run({"import", "web", file("8080:80\n"), "--persistent"});
  EXPECT_EQ(result.status, 1);
  EXPECT_THAT(result.err, Not(HasSubstr("nothing was added")));
}

TEST_F(ImportExport, ADryRunPrintsAndAddsNothing) {
  const std::string list = file("8080:80 # web\n5353:53/udp name=dns\n");
  EXPECT_EQ(run({"import", "web", list, "--dry-run"}).out, "8080:80\n5353:53/udp name=dns\n");
  EXPECT_EQ(
      run({"import", "web", list, "--dry-run", "--json"}).out,
      "[\n{\"guest-port\":\"80\",\"host-port\":\"8080\"},\n"
      "{\"name\":\"dns\",\"guest-port\":\"53\",\"host-port\":\"5353\",\"protocol\":\"udp\"}\n]\n");
  EXPECT_EQ(run({"import", "web", directory_.path("none")}).status, 1);
  EXPECT_TRUE(edits().empty());
}

TEST_F(ImportExport, ADryRunSaysWhichPortsWouldMove) {
  ForwardView moved = fake_forward();
  moved.host_port = Port::from(8081);
  daemon_.controller.added = std::vector{moved};
  for (const bool json : {false, true}) {
    std::vector<std::string> words{"import", "web", file("8080:80\n"), "--dry-run"};
    if (json) words.emplace_back("--json");
    const ProgramResult result = run(words);
    EXPECT_EQ(result.status, 0);
    EXPECT_THAT(result.out, HasSubstr("8080")) << "the file as it is";
    EXPECT_EQ(result.err, "virt-forward: 8080 is taken; it would be 8081\n");
  }
}

TEST_F(ImportExport, AStoppedDomainWantsConfig) {
  DomainView off = fake_domain();
  off.active = false;
  off.id.reset();
  daemon_.model.change(off);
  daemon_.controller.element = Unexpected(ErrorCode::domain_not_running, "it does not run");
  const ProgramResult result = run({"import", "web", file("80\n")});
  EXPECT_EQ(result.status, 4);
  EXPECT_THAT(result.err, HasSubstr("--config"));
  for (const auto& asked : daemon_.controller.asked)
    EXPECT_TRUE(asked.attributes.empty()) << "something was added";
}

TEST_F(ImportExport, ExportsWhatTheMetadataSays) {
  daemon_.controller.element = std::string(
      "<forwards><forward guest-port='80' host-port='8080'/>"
      "<forward guest-port='22' name='ssh' label='secure shell'/><auto enabled='yes'/></forwards>");
  EXPECT_EQ(run({"export", "web"}).out, "8080:80\n22 name=ssh 'label=secure shell'\n");
  EXPECT_EQ(run({"export", "web", "--format=json"}).out, run({"export", "web", "--json"}).out);
  const ProgramResult xml = run({"export", "web", "--format", "xml", "--config"});
  EXPECT_THAT(xml.out, HasSubstr("<auto"));
  EXPECT_TRUE(daemon_.controller.asked.back().scope.config);
  EXPECT_EQ(run({"export", "web", "--format", "yaml"}).status, 2);
  EXPECT_EQ(run({"export", "web", "--format", "xml", "--json"}).status, 2);
}

TEST_F(ImportExport, WhatCannotBeExportedIsSaid) {
  daemon_.controller.element =
      std::string("<forwards><forward guest-port='0'/><forward guest-port='80'/></forwards>");
  const ProgramResult result = run({"export", "web"});
  EXPECT_EQ(result.status, 1);
  EXPECT_EQ(result.out, "80\n");
  EXPECT_THAT(result.err, HasSubstr("left out: line 1"));
}

}  // namespace
}  // namespace vf
