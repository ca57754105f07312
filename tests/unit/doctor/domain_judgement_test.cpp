// SPDX-License-Identifier: LGPL-2.1-or-later
//
// The edges of what is found about domains; tests/e2e/test_doctor*.py causes every finding.

#include <gmock/gmock.h>

#include "doctor/domains.h"
#include "doctor/host_ports.h"
#include "judgement_lab.h"

namespace vf {
namespace {

using testing::HasSubstr;

ForwardView forward(const char* id = "tcp:8080:80") {
  ForwardView view;
  view.domain = "my web";
  view.id = view.definition = id;
  view.guest_port = Port::from(80);
  view.host_port = view.requested_port = Port::from(8080);
  view.transport = Transport::tcp;
  view.state = ForwardState::active;
  view.live = view.config = true;
  view.ways = {{"tcp", WayState::used, ""},
               {"vsock", WayState::rejected, "the domain has no <vsock> device"}};
  return view;
}

SeenDomain running() {
  SeenDomain seen;
  seen.domain.name = "my web";
  seen.domain.active = true;
  seen.domain.guest_agent = "no-vsock";
  seen.domain.bridges = {"virbr0"};
  seen.domain.addresses = {*IpAddress::parse("192.168.122.5")};
  seen.forwards = {forward()};
  return seen;
}

std::string judged(const SeenDomain& seen, Findings* kept = nullptr) {
  Findings findings;
  judge_domain(seen, findings);
  if (kept) *kept = findings;
  return ids(findings);
}

TEST(Judgement, OfDomains) {
  EXPECT_EQ(judged(running()), "") << "a vsock device is not missed by who does without";
  SeenDomain seen = running();
  seen.domain.automatic = true;
  Findings findings;
  EXPECT_EQ(judged(seen, &findings), "no-vsock");
  EXPECT_EQ(findings[0].fix,
            "printf '%s' \"<vsock model='virtio'><cid auto='yes'/></vsock>\" | virsh attach-device "
            "'my web' "
            "/dev/stdin --config   # there from its next start on");
  for (const auto& [word, id] :
       {std::pair("not-answering", "agent-missing"), std::pair("refused", "agent-refused"),
        std::pair("version", "agent-version"), std::pair("connecting", ""),
        std::pair("connected", ""), std::pair("qemu-agent", "")}) {
    seen.domain.guest_agent = word;
    EXPECT_EQ(judged(seen), id) << word;
  }
}

TEST(Judgement, OfAGuestThatBoots) {
  SeenDomain seen = running();
  seen.domain.addresses.clear();
  ForwardView& booting = seen.forwards[0];
  booting.transport.reset();
  booting.state = ForwardState::waiting;
  booting.reason = "no address of the guest has been seen yet";
  booting.ways = {{"tcp", WayState::rejected, booting.reason},
                  {"vsock", WayState::rejected, "the domain has no <vsock> device"}};
  EXPECT_EQ(judged(seen), "no-address forward-waiting") << "nothing here needs the agent";
  booting.reason = "the domain is paused: it is served when it is resumed (virsh resume my web)";
  Findings paused;
  EXPECT_EQ(judged(seen, &paused), "no-address forward-waiting");
  EXPECT_THAT(paused[0].message, HasSubstr("virbr0: the domain is paused"));
  EXPECT_EQ(paused[0].fix, "virsh resume 'my web'");
  EXPECT_EQ(paused[1].fix, "virsh resume 'my web'");
  booting.ways[0].reason = "192.168.122.9 is not (yet) proven to be an address of the guest";
  EXPECT_EQ(judged(seen), "no-address forward-waiting");
  booting.guest_address = IpAddress::loopback4();
  EXPECT_THAT(judged(seen), HasSubstr("no-vsock")) << "no network will ever lead there";
  booting.guest_address.reset();
  booting.ways[0].reason = "a socket in the guest cannot be reached by tcp";
  EXPECT_THAT(judged(seen), HasSubstr("no-vsock"));
  booting.ways = {{"tcp", WayState::rejected, "transport=\"vsock\""},
                  {"vsock", WayState::rejected, "the domain has no <vsock> device"}};
  EXPECT_THAT(judged(seen), HasSubstr("no-vsock"));
}

SeenMetadata metadata(const std::string& elements) {
  return parse_definitions("<forwards>\n" + elements + "</forwards>");
}

TEST(Judgement, OfMetadataByItsSide) {
  const std::string wrong = "<forward guest-port=\"0\"/>\n";
  const auto fix = [](SeenDomain seen, bool config_is_wrong) {
    seen.forwards.clear();
    seen.domain.problems = {seen.live ? seen.live->errors.at(0).text() : "wrong"};
    if (config_is_wrong) seen.domain.problems[0] = "next start: wrong";
    Findings findings;
    EXPECT_EQ(judged(seen, &findings), "metadata");
    return findings.at(0).message.substr(0, 29) + '|' + findings.at(0).fix;
  };
  SeenDomain seen = running();
  seen.live = metadata(wrong);
  seen.config = metadata("");
  const std::string live = "virsh metadata 'my web' urn:virt-forward:1 --live --key vf --edit";
  EXPECT_EQ(fix(seen, false), "of the running domain alone: |" + live);
  seen.config = metadata(wrong);
  EXPECT_EQ(fix(seen, false), "line 2: <forward> guest-port=|virsh edit 'my web'\n" + live +
                                  "   # the same of the running domain");
  EXPECT_EQ(fix(seen, true), "next start: wrong|virsh edit 'my web'");
  seen.config.reset();
  seen.domain.persistent = false;
  EXPECT_EQ(fix(seen, false), "of the running domain alone: |" + live);
}

TEST(Judgement, OfAnAddressThatTheGuestHasNot) {
  SeenDomain seen = running();
  seen.live = metadata(
      "<forward guest-port=\"80\" host-port=\"8080\" guest-address=\"192.168.122.9\" "
      "scheme=\"http\"/>");
  ForwardView& astray = seen.forwards[0];
  astray.definition = astray.id = seen.live->definitions.forwards.at(0).identity();
  astray.guest_address = IpAddress::parse("192.168.122.9");
  astray.transport.reset();
  astray.state = ForwardState::waiting;
  astray.reason = "it is not (yet) proven to be an address of the guest";
  astray.ways[0] = {"tcp", WayState::rejected, astray.reason};
  EXPECT_TRUE(wants_metadata(seen));
  Findings findings;
  EXPECT_EQ(judged(seen, &findings), "forward-waiting");
  EXPECT_EQ(findings[0].fix, "virt-forward remove 'my web' " + astray.id +
                                 " --persistent && virt-forward add 'my web' 8080:80 --scheme http "
                                 "--persistent   # or with another --guest-address");
  astray.config = false;
  seen.config = seen.live;
  judged(seen, &findings);
  EXPECT_THAT(findings.back().fix, HasSubstr("8080:80 --scheme http --live   # or"));
  astray.config = true;
  seen.live.reset();
  judged(seen, &findings);
  EXPECT_EQ(findings[0].fix,
            "virsh metadata 'my web' urn:virt-forward:1 --live --key vf --edit   # let its "
            "<forward> have another guest-address, or none");
  astray.state = ForwardState::failed;
  EXPECT_EQ(judged(seen, &findings), "forward-failed");
  EXPECT_THAT(findings[0].fix, HasSubstr("another guest-address"));
  seen.domain.addresses.push_back(*astray.guest_address);
  EXPECT_FALSE(wants_metadata(seen));
  EXPECT_EQ(judged(seen, &findings), "forward-failed");
  EXPECT_THAT(findings[0].fix, HasSubstr("virt-forward explain"));
}

TEST(Judgement, OfDrift) {
  SeenDomain seen = running();
  seen.forwards[0].config = false;
  seen.live =
      metadata("<forward guest-port=\"80\" host-port=\"8080\" scheme=\"http\" on-busy=\"fail\"/>");
  seen.config = metadata("");
  Findings findings;
  EXPECT_EQ(judged(seen, &findings), "live-only");
  const std::string add = "virt-forward add 'my web' 8080:80 --on-busy fail --scheme http --config";
  EXPECT_EQ(findings[0].fix, add);
  EXPECT_EQ(findings[0].severity, Severity::note) << "it was asked for";
  seen.config = metadata(
      "<forward guest-port=\"80\" host-port=\"8080\" scheme=\"http\" on-busy=\"fail\" "
      "enabled=\"no\"/>");
  judged(seen, &findings);
  EXPECT_EQ(findings[0].message,
            "the next start of the domain has the forward tcp:8080:80 disabled");
  EXPECT_EQ(findings[0].fix, "virt-forward enable 'my web' tcp:8080:80 --config");
  seen.config = metadata("");
  EXPECT_FALSE(any_wrong(findings));
  seen.config = metadata("<forward guest-port=\"80\" host-port=\"8080\"/>");
  judged(seen, &findings);
  EXPECT_EQ(findings[0].severity, Severity::note) << "it leads to the same";
  EXPECT_EQ(findings[0].fix, "virt-forward remove 'my web' tcp:8080:80 --config && " + add);
  seen.live.reset();
  judged(seen, &findings);
  EXPECT_EQ(findings[0].fix,
            "virsh edit 'my web'   # put in the <forward> that is shown by: virsh metadata "
            "'my web' urn:virt-forward:1 --live")
      << "not known";
  seen.forwards[0].live = false;
  seen.forwards[0].config = true;
  seen.forwards[0].state = ForwardState::inactive;
  EXPECT_EQ(judged(seen, &findings), "config-only");
  EXPECT_EQ(findings[0].fix, "virt-forward add 'my web' 8080:80 --live");
  EXPECT_EQ(findings[0].severity, Severity::note);
  seen.forwards[0].state = ForwardState::disabled;
  judged(seen, &findings);
  EXPECT_THAT(findings[0].message, HasSubstr("has the forward tcp:8080:80, disabled"));
  seen.domain.persistent = false;
  EXPECT_EQ(judged(seen), "");
}

// Who uses the host port then meets something else, without a word.
TEST(Judgement, OfDriftThatLeadsElsewhere) {
  const auto severity = [](const char* live, const char* config) {
    SeenDomain seen = running();
    seen.live = metadata(live);
    seen.config = metadata(config);
    const ForwardDefinition& definition = seen.live->definitions.forwards.at(0);
    seen.forwards[0].id = seen.forwards[0].definition = definition.identity();
    seen.forwards[0].config = false;
    Findings findings;
    EXPECT_EQ(judged(seen, &findings), "live-only");
    return findings.at(0).severity;
  };
  const char* const here = "<forward guest-port=\"80\" host-port=\"8080\"/>";
  EXPECT_EQ(severity(here, "<forward guest-port=\"81\" host-port=\"8080\"/>"), Severity::warning);
  EXPECT_EQ(severity(here, "<forward guest-port=\"85-89\" host-port=\"8076-8080\"/>"),
            Severity::warning);
  EXPECT_EQ(severity(here, "<forward guest-port=\"80\" host-port=\"8081\"/>"), Severity::note);
  EXPECT_EQ(severity(here, "<forward guest-port=\"81\" host-port=\"8080\" protocol=\"udp\"/>"),
            Severity::note);
  EXPECT_EQ(severity(here, "<forward guest-port=\"81\" host-port=\"8080\" enabled=\"no\"/>"),
            Severity::note);
  EXPECT_EQ(severity(here,
                     "<forward guest-port=\"81\" host-port=\"8080\" "
                     "host-address=\"192.0.2.1\"/>"),
            Severity::note);
  EXPECT_EQ(severity("<forward name=\"n\" guest-port=\"80\" host-port=\"8080\"/>",
                     "<forward name=\"n\" guest-port=\"81\" host-port=\"8080\"/>"),
            Severity::warning);
}

TEST(Judgement, OfHeldPorts) {
  SeenDomain domain = running();
  domain.forwards[0].host_port.reset();
  domain.forwards[0].state = ForwardState::port_busy;
  Seen seen;
  seen.daemons.push_back(healthy());
  seen.daemons[0].domains = {domain};
  PortHolders holders;
  holders.add(Protocol::tcp, {{IpAddress::loopback4()}, *Port::from(8080), 0, 0, "", ""});
  Findings findings;
  judge_host_ports(seen, holders, findings);
  ASSERT_EQ(ids(findings), "host-port-held");
  EXPECT_THAT(findings[0].message,
              HasSubstr("a program of user root (run as root to see the process)"));
  seen.daemons[0].domains[0].live =
      metadata("<forward guest-port=\"80\" host-port=\"8080\" on-busy=\"fail\" label=\"a b\"/>");
  findings.clear();
  judge_host_ports(seen, holders, findings);
  EXPECT_THAT(
      findings[0].fix,
      HasSubstr("\nvirt-forward remove 'my web' tcp:8080:80 --persistent && virt-forward add "
                "'my web' 80 --on-busy fail --label 'a b' --persistent   # or on any"));
  seen.daemons[0].domains[0].forwards[0] = forward();
  findings.clear();
  judge_host_ports(seen, holders, findings);
  EXPECT_EQ(ids(findings), "");
}

TEST(Judgement, OfAPortThatAnotherForwardHas) {
  Seen seen;
  seen.daemons.push_back(healthy());
  seen.daemons[0].domains = {running()};
  SeenDomain& domain = seen.daemons[0].domains[0];
  domain.forwards.push_back(forward("b"));
  domain.forwards[1].host_port = Port::from(8081);
  domain.live = metadata("<forward name=\"b\" guest-port=\"81\" host-port=\"8080\"/>");
  PortHolders holders;
  holders.add(Protocol::tcp,
              {{IpAddress::loopback4()}, *Port::from(8080), 0, 7, "virt-forward-re", ""});
  Findings findings;
  judge_host_ports(seen, holders, findings);
  ASSERT_EQ(ids(findings), "host-port-held");
  EXPECT_EQ(findings[0].message,
            "host port 8080 of forward b is held by the forward tcp:8080:80 of my web; the forward "
            "is on 8081 instead");
  EXPECT_EQ(findings[0].fix,
            "virt-forward remove 'my web' b --persistent && virt-forward add 'my web' 81 --name b "
            "--persistent   # or on any free port");

  // A range that gave way as a whole.
  domain.forwards[1].definition = domain.forwards[0].definition;
  findings.clear();
  judge_host_ports(seen, holders, findings);
  EXPECT_EQ(ids(findings), "");
}

}  // namespace
}  // namespace vf
