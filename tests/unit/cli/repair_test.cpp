// SPDX-License-Identifier: LGPL-2.1-or-later
//
// The commands that `doctor` and `explain` name, given to the program.

#include <gmock/gmock.h>

#include "core/definition_xml.h"
#include "doctor/words.h"
#include "program_lab.h"

namespace vf {
namespace {

using testing::HasSubstr;

class Repair : public ProgramLab {
 protected:
  Repair() { daemon_.model.add(fake_domain()); }

  // What the daemon is asked to add by a line of a shell.
  ForwardDefinition added_by(const std::string& line) {
    gint count = 0;
    gchar** words = nullptr;
    EXPECT_TRUE(g_shell_parse_argv(line.c_str(), &count, &words, nullptr)) << line;
    const std::vector<std::string> arguments(words + 1, words + count);
    g_strfreev(words);
    daemon_.controller.asked.clear();
    daemon_.controller.added = std::vector{fake_forward()};
    const ProgramResult result = run(arguments);
    EXPECT_EQ(result.status, 0) << line << '\n' << result.err;
    if (daemon_.controller.asked.empty()) return {};
    const auto& asked = daemon_.controller.asked.back();  // the metadata may be read before
    EXPECT_TRUE(asked.scope.config) << line;
    const auto definition = parse_forward(asked.attributes);
    return definition ? *definition : ForwardDefinition{};
  }
};

TEST_F(Repair, AnAddLineMakesExactlyTheDefinition) {
  const ParsedDefinitions parsed = parse_definitions(
      "<forwards>"
      "<forward guest-port='80'/>"
      "<forward guest-port='80' host-port='8080' host-address='192.168.1.10'/>"
      "<forward guest-port='80' host-address='192.168.1.10'/>"
      "<forward guest-port='80-82' host-port='8200-8202'/>"
      "<forward guest-port='80-82' host-address='::1'/>"
      "<forward guest-port='53' host-port='5353' host-address='fd00::1' protocol='udp'/>"
      "<forward guest-port='22' host-port='2222' enabled='no' name=\"it's\" label='a &amp; b $x'/>"
      "<forward guest-port='443' scheme='https' on-busy='fail' idle-timeout='60'"
      " max-connections='5' guest-address='10.0.0.7' transport='tcp' offload='none'"
      " proxy-protocol='v2' required='yes'/>"
      "<forward guest-port='1' name='-n' label='--live'/>"
      "<forward guest-socket='/run/a b.sock' host-socket='web/b.sock'/>"
      "<forward guest-socket='/run/log' host-port='514' protocol='udp'/>"
      "<forward guest-socket='/run/tcp' host-port='515' host-address='127.0.0.1'/>"
      "<forward guest-port='5432' host-socket='pg.sock'/>"
      "</forwards>");
  for (const DefinitionError& error : parsed.errors)
    ADD_FAILURE() << error.text();
  for (const ForwardDefinition& definition : parsed.definitions.forwards) {
    const auto line = add_command("web", definition, "--config");
    ASSERT_TRUE(line) << definition.identity();
    EXPECT_EQ(added_by(*line), definition) << *line;
  }
}

TEST_F(Repair, WhatAddCannotSayIsEdited) {
  const SeenMetadata odd = parse_definitions(
      "<forwards><forward name='odd' guest-socket='/run/a:b' host-port='80'/></forwards>");
  ASSERT_EQ(odd->definitions.forwards.size(), 1u);
  const ForwardDefinition& definition = odd->definitions.forwards[0];
  EXPECT_FALSE(add_command("web", definition, "--config"));
  ForwardView view = fake_forward("odd");
  EXPECT_EQ(copy_command(view, &definition, Side::config, {}),
            "virsh edit web   # put in the <forward> that is shown by: virsh metadata web "
            "urn:virt-forward:1 --live");
  EXPECT_THAT(copy_command(view, &definition, Side::live, {}),
              HasSubstr("virsh metadata web urn:virt-forward:1 --live --key vf --edit   # "));
}

TEST_F(Repair, DoctorAndExplainReadTheMetadata) {
  ForwardView view = fake_forward("tcp:192.168.1.10=8080:80");
  view.name.clear();
  view.live = false;
  view.config = true;
  view.state = ForwardState::inactive;
  view.reason = "begins with the next start of the domain";
  daemon_.model.add(view);
  daemon_.controller.element = std::string(
      "<forwards><forward guest-port='80' host-port='8080' host-address='192.168.1.10' "
      "enabled='no'/></forwards>");
  const std::string add = "virt-forward add web 192.168.1.10:8080:80 --disabled --live";
  EXPECT_THAT(run({"doctor", "web"}).out, HasSubstr(add + '\n'));
  EXPECT_THAT(run({"explain", "web", view.id}).out, HasSubstr(add + '\n'));
}

}  // namespace
}  // namespace vf
