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
  web.host_port = web.requested_port = Port::from(1);  // that nobody has here
  web.ways = {{"tcp", WayState::used, ""},
              {"vsock", WayState::rejected, "the domain has no <vsock> device"},
              {"redirect", WayState::used, ""}};
  daemon_.model.add(fake_domain());
  daemon_.model.add(web);
  const ProgramResult result = run({"explain", "web", "web"});
  EXPECT_EQ(result.status, 0) << result.err;
  EXPECT_EQ(result.out,
            "web: active by tcp+redirect\n"
            "  decided by: definition \"web\" in the metadata of the running domain alone\n"
            "  guest:      not known: no agent tells what listens in the guest\n"
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

TEST_F(Explain, SaysEverythingOfAPort) {
  daemon_.model.add(fake_domain());
  ForwardView automatic = fake_forward("auto:tcp:3000");
  automatic.guest_port = Port::from(3000);
  automatic.host_port = automatic.requested_port = Port::from(3000);
  automatic.origin = Origin::automatic;
  daemon_.model.add(automatic);
  PortView port = fake_port();
  port.state = DetectedState::forwarded;
  port.reason.clear();
  port.forward = automatic.id;
  port.rule_text = "<rule process=\"node\"/>";
  port.container = "docker/1234";
  daemon_.model.add(port);
  const ProgramResult found = run({"explain", "web", "3000"});
  EXPECT_EQ(found.status, 0) << found.err;
  EXPECT_THAT(
      found.out,
      HasSubstr("auto:tcp:3000: active by tcp\n"
                "  decided by: rule 2 of <auto>: <rule process=\"node\"/>\n"
                "  guest:      listens on 0.0.0.0 port 3000: node (process 42, user 1000, in "
                "docker/1234); virt-forward-guest says so\n"));
  EXPECT_THAT(
      run({"explain", "web", "3000", "--json"}).out,
      HasSubstr(R"("decision":{"rule":2,"rule-text":"<rule process=\"node\"/>","marked":false})"));

  PortView blocked = fake_port("tcp:5432");
  blocked.port = Port::from(5432);
  blocked.state = DetectedState::blocked;
  blocked.rule = 1;
  blocked.reason = "rule 1 blocks it";
  blocked.rule_text = "<rule action=\"block\" guest-port=\"5432\" marked=\"yes\"/>";
  daemon_.model.add(blocked);
  const ProgramResult why = run({"explain", "web", "5432"});
  EXPECT_EQ(why.status, 0) << why.err;
  EXPECT_THAT(why.out,
              HasSubstr("5432: not forwarded: blocked: rule 1 blocks it\n"
                        "  decided by: rule 1 of <auto>, put there by \"virt-forward block\": "));
  EXPECT_THAT(why.out, HasSubstr("next step:  virt-forward unblock web 5432\n"));
  EXPECT_EQ(run({"explain", "web", "5432/udp"}).status, 3) << "another protocol";

  PortView asking = fake_port("udp:4000");
  asking.protocol = Protocol::udp;
  asking.port = Port::from(4000);
  asking.state = DetectedState::asking;
  asking.reason = "rule 3 asks";
  daemon_.model.add(asking);
  EXPECT_THAT(run({"explain", "web", "4000/udp"}).out,
              HasSubstr("next step:  virt-forward allow web 4000/udp\n"));
}

TEST_F(Explain, ANumberThatIsNoPortIsNamed) {
  daemon_.model.add(fake_domain());
  for (const char* number : {"0", "99999"}) {
    const ProgramResult result = run({"explain", "web", number});
    EXPECT_EQ(result.status, 2);
    EXPECT_THAT(result.err, testing::HasSubstr("names no port; allowed are 1-65535"));
  }
}

TEST_F(Explain, ADisabledOneIsEnabledNext) {
  daemon_.model.add(fake_domain());
  ForwardView forward = fake_forward();
  forward.state = ForwardState::disabled;
  forward.reason = "enabled=\"no\"";
  daemon_.model.add(forward);
  EXPECT_THAT(run({"explain", "web", "8080"}).out,
              testing::HasSubstr("next step:  virt-forward enable web tcp:8080:80\n"));
}

TEST_F(Explain, AnAddressThatTheGuestHasNotIsChangedNext) {
  DomainView web = fake_domain();
  web.addresses = {*IpAddress::parse("192.0.2.7")};
  daemon_.model.add(web);
  ForwardView forward = fake_forward("site");
  forward.definition = forward.name = "site";
  forward.guest_address = IpAddress::parse("192.0.2.9");
  forward.transport.reset();
  forward.state = ForwardState::waiting;
  forward.reason = "192.0.2.9 is not (yet) proven to be an address of the guest";
  forward.live = forward.config = true;
  daemon_.model.add(forward);
  daemon_.controller.element_of = [](const EditScope&) {
    return "<forwards><forward name='site' guest-port='80' host-port='8080' "
           "guest-address='192.0.2.9'/></forwards>";
  };
  EXPECT_THAT(run({"explain", "web", "site"}).out,
              HasSubstr("next step:  virt-forward remove web site --persistent && virt-forward add "
                        "web 8080:80 --name site --persistent   # or with another "
                        "--guest-address\n"));
}

TEST_F(Explain, SaysWhyNobodyKnowsOfAPort) {
  DomainView web = fake_domain();
  web.guest_agent = "no-vsock";
  daemon_.model.add(web);
  const ProgramResult blind = run({"explain", "web", "9"});
  EXPECT_EQ(blind.status, 3);
  EXPECT_THAT(blind.out,
              HasSubstr("9: not forwarded: no definition of the metadata names it, automatic "
                        "forwarding is off, and no agent tells of ports\n"));
  EXPECT_THAT(blind.out, HasSubstr("the domain has no <vsock> device"));
  EXPECT_THAT(blind.out, HasSubstr("next step:  virt-forward add web 9 "));
  web.guest_agent = "connected";
  web.automatic = true;
  daemon_.model.change(web);
  const ProgramResult silent = run({"explain", "web", "9"});
  EXPECT_THAT(silent.out, HasSubstr("and nothing listens there\n"));
  EXPECT_THAT(silent.out, HasSubstr("the guest says that nothing listens on tcp port 9\n"));
  web.active = false;
  daemon_.model.change(web);
  EXPECT_THAT(run({"explain", "web", "9"}).out, HasSubstr("next step:  virsh start web\n"));
}

}  // namespace
}  // namespace vf
