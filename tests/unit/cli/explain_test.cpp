// SPDX-License-Identifier: LGPL-2.1-or-later

#include <gmock/gmock.h>

#include <fstream>

#include "program_lab.h"

namespace vf {
namespace {

using testing::HasSubstr;
using testing::Not;

class Explain : public ProgramLab {
 protected:
  std::string file(const std::string& text) {
    std::ofstream(directory_.path("rules.xml")) << text;
    return directory_.path("rules.xml");
  }
  // No daemon is asked.
  ProgramResult explain(const std::string& rules, const std::vector<std::string>& more) {
    std::vector<std::string> words{"explain", "--metadata", file(rules)};
    words.insert(words.end(), more.begin(), more.end());
    return run_searching(words);
  }
};

constexpr auto rules =
    "<forwards><auto enabled=\"policy\">\n"
    "<rule action=\"block\" guest-port=\"5355\"/>\n"
    "<rule process=\"postgres\" host-port=\"15432\" label=\"database\" notify=\"no\"/>\n"
    "<rule guest-port=\"2375\" host-socket=\"docker.sock\"/>\n"
    "</auto></forwards>\n";

TEST_F(Explain, TellsRuleAndHostSideAsJson) {
  const ProgramResult result = explain(
      rules, {"--json", "--listener", "127.0.0.1:5432,process=postgres,command=postgres -D a,b",
              "--listener", "[::]:80", "--listener", ":::2375", "--listener", "0.0.0.0:5355",
              "--listener", "127.0.0.53:53/udp"});
  EXPECT_EQ(result.status, 0) << result.err;
  EXPECT_EQ(result.err, "");
  EXPECT_EQ(
      result.out,
      "{\"listener\":{\"protocol\":\"tcp\",\"port\":5432,\"addresses\":[\"127.0.0.1\"],"
      "\"process\":{\"name\":\"postgres\",\"command\":\"postgres -D a,b\"}},\"action\":\"forward\","
      "\"state\":\"forwarded\",\"rule\":2,\"host\":{\"addresses\":[\"127.0.0.1\",\"::1\"],\"port\":"
      "15432},\"label\":\"database\",\"notify\":false,\"open\":false}\n"
      "{\"listener\":{\"protocol\":\"tcp\",\"port\":80,\"addresses\":[\"::\"]},\"action\":"
      "\"forward\",\"state\":\"forwarded\",\"host\":{\"addresses\":[\"127.0.0.1\",\"::1\"],"
      "\"port\":"
      "8080},\"scheme\":\"http\",\"notify\":true,\"open\":false}\n"
      "{\"listener\":{\"protocol\":\"tcp\",\"port\":2375,\"addresses\":[\"::\"]},\"action\":"
      "\"forward\",\"state\":\"forwarded\",\"rule\":3,\"host\":{\"socket\":\"docker.sock\"},"
      "\"notify\":true,\"open\":false}\n"
      "{\"listener\":{\"protocol\":\"tcp\",\"port\":5355,\"addresses\":[\"0.0.0.0\"]},\"action\":"
      "\"block\",\"state\":\"blocked\",\"rule\":1,\"reason\":\"rule 1 blocks it\",\"notify\":true,"
      "\"open\":false}\n"
      "{\"listener\":{\"protocol\":\"udp\",\"port\":53,\"addresses\":[\"127.0.0.53\"]},\"action\":"
      "\"deny\",\"state\":\"denied\",\"reason\":\"udp port 53 is of the guest's own "
      "infrastructure: "
      "only a rule with guest-port=\\\"53\\\" forwards it\",\"notify\":true,\"open\":false}\n");
}

TEST_F(Explain, IsATableForPeople) {
  const ProgramResult result = explain(rules, {"--listener=0.0.0.0:3000", "--listener=[::1]:5355"});
  EXPECT_EQ(result.out,
            "LISTENER      ACTION   RULE  HOST\n"
            "0.0.0.0:3000  forward  -     127.0.0.1:3000\n"
            "[::1]:5355    block    1     -               rule 1 blocks it\n");
}

TEST_F(Explain, TakesAWholeDomainAndStandardInput) {
  const std::string domain =
      "<domain><name>x</name><metadata><v:forwards xmlns:v=\"urn:virt-forward:1\"><v:auto>"
      "<v:rule guest-port=\"80\" host-port=\"81\"/></v:auto></v:forwards></metadata></domain>";
  EXPECT_THAT(explain(domain, {"--listener=0.0.0.0:80"}).out, HasSubstr("127.0.0.1:81"));
  EXPECT_THAT(explain("<domain/>", {"--listener=0.0.0.0:80"}).out, HasSubstr("127.0.0.1:8080"));
  const std::string path = file(rules);
  std::string line;
  for (const std::string& word : command({"explain", "--metadata", "-", "--listener=0.0.0.0:2375"}))
    line += '\'' + word + "' ";
  EXPECT_THAT(run_program({"/bin/sh", "-c", line + "< " + path}).out, HasSubstr("docker.sock"));
}

TEST_F(Explain, OffIsIgnored) {
  EXPECT_THAT(explain("<forwards><auto enabled=\"no\"/></forwards>", {"--listener=0.0.0.0:80"}).out,
              HasSubstr("ignore"));
}

TEST_F(Explain, WhatIsWrongIsNamed) {
  const ProgramResult bad = explain("<forwards><auto>\n<rule guest-port=\"0\"/></auto></forwards>",
                                    {"--listener=::1:80"});
  EXPECT_EQ(bad.status, 2);
  EXPECT_EQ(bad.out, "");
  EXPECT_THAT(bad.err, HasSubstr("line 2: <rule> guest-port=\"0\""));
  EXPECT_EQ(explain("", {"--listener=::1:80"}).status, 2);
  EXPECT_EQ(explain("<forwards", {"--listener=::1:80"}).status, 2);
  EXPECT_EQ(explain("<domain><metadata>", {"--listener=::1:80"}).status, 2);
  for (const char* listener : {"80", "x:80", "0.0.0.0:0", "0.0.0.0:65536", "0.0.0.0:80/sctp",
                               "0.0.0.0:80,name=x", "", "::"}) {
    const ProgramResult result = explain(rules, {std::string("--listener=") + listener});
    EXPECT_EQ(result.status, 2) << listener;
    EXPECT_THAT(result.err, HasSubstr("ADDRESS:PORT")) << listener;
  }
  EXPECT_EQ(explain(rules, {}).status, 2);
  EXPECT_EQ(run_searching({"explain", "--listener=::1:80"}).status, 2);
  const ProgramResult missing =
      run_searching({"explain", "--metadata=/nowhere/x", "--listener=::1:80"});
  EXPECT_EQ(missing.status, 1);
  EXPECT_THAT(missing.err, HasSubstr("/nowhere/x"));
}

TEST_F(Explain, SaysByWhichWaysAForwardIsServed) {
  ForwardView web = fake_forward("web");
  web.transport = Transport::tcp;
  web.offload = Offload::redirect;
  web.ways = {{"tcp", WayState::used, ""},
              {"vsock", WayState::rejected, "the domain has no <vsock> device"},
              {"redirect", WayState::used, ""}};
  daemon_.model.add(fake_domain());
  daemon_.model.add(web);
  const ProgramResult result = run({"explain", "web", "web"});
  EXPECT_EQ(result.status, 0) << result.err;
  EXPECT_EQ(result.out,
            "web: active by tcp+redirect\n"
            "WAY       STATE\n"
            "tcp       used\n"
            "vsock     rejected  the domain has no <vsock> device\n"
            "redirect  used\n");
  EXPECT_THAT(run({"explain", "web", "web", "--json"}).out,
              HasSubstr(R"("ways":[{"way":"tcp","state":"used"},{"way":"vsock",)"
                        R"("state":"rejected","reason":"the domain has no <vsock> device"})"));
  EXPECT_EQ(run({"explain", "web", "nothing"}).status, 3);
  EXPECT_EQ(run({"explain", "web"}).status, 2);
  EXPECT_EQ(run({"explain", "web", "web", "--listener=::1:80"}).status, 2);
}

}  // namespace
}  // namespace vf
