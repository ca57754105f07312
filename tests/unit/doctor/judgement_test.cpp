// SPDX-License-Identifier: LGPL-2.1-or-later
//
// The edges; tests/e2e/test_doctor*.py causes every finding.

#include <gmock/gmock.h>

#include "doctor/denials.h"
#include "doctor/domains.h"
#include "doctor/hook.h"
#include "doctor/host_ports.h"
#include "doctor/permissions.h"
#include "doctor/policy.h"
#include "doctor/services.h"

namespace vf {
namespace {

using testing::HasSubstr;
using testing::Not;

std::string ids(const Findings& findings) {
  std::string list;
  for (const Finding& finding : findings)
    list += (list.empty() ? "" : " ") + std::string(text(finding.id));
  return list;
}

SeenDaemon healthy() {
  return {.title = "the system daemon",
          .uri = "qemu:///system",
          .start = "start it",
          .system = true,
          .silent = {},
          .version = "0.1.0",
          .libvirt_connected = true,
          .relay_connected = true};
}

TEST(Judgement, OfADaemon) {
  Findings findings;
  judge_daemon(healthy(), "0.1.0", findings);
  EXPECT_EQ(ids(findings), "");
  SeenDaemon old = healthy();
  old.version = "0.0.9";
  judge_daemon(old, "0.1.0", findings);
  ASSERT_EQ(ids(findings), "daemon-version");
  EXPECT_THAT(findings[0].message, AllOf(HasSubstr("0.0.9"), HasSubstr("0.1.0")));
  EXPECT_EQ(findings[0].fix, "systemctl restart virt-forwardd");
}

TEST(Judgement, OfADaemonThatMayNotBeAsked) {
  SeenDaemon daemon = healthy();
  daemon.silent = Error{ErrorCode::not_allowed, "for root alone"};
  Findings findings;
  judge_daemon(daemon, "0.1.0", findings);
  ASSERT_EQ(ids(findings), "daemon");
  EXPECT_EQ(findings[0].severity, Severity::not_checked);
  EXPECT_FALSE(any_wrong(findings));
}

TEST(Judgement, OfADeadDaemonWhoseRelayGoesOn) {
  SeenDaemon daemon = healthy();
  daemon.silent = Error{ErrorCode::no_daemon, ""};
  Findings findings;
  judge_daemon(daemon, "0.1.0", findings);
  ASSERT_EQ(ids(findings), "daemon-down");
  EXPECT_THAT(findings[0].message, HasSubstr("the relay, if it runs, goes on with the forwards"));
  EXPECT_THAT(findings[0].message, Not(HasSubstr("nothing forwards")));
}

TEST(Judgement, OfTheHostPolicy) {
  Findings findings;
  judge_policy({}, "restart it", findings);
  EXPECT_EQ(ids(findings), "");
  judge_policy(
      {{"/etc/virt-forward/virt-forward.conf.d/my own.conf", "[host] adresses: no such setting"}},
      "restart it", findings);
  ASSERT_EQ(ids(findings), "policy-wrong");
  EXPECT_EQ(findings[0].subject, "/etc/virt-forward/virt-forward.conf.d/my own.conf");
  EXPECT_THAT(findings[0].message, HasSubstr("[host] adresses: no such setting"));
  EXPECT_THAT(findings[0].fix,
              HasSubstr("'/etc/virt-forward/virt-forward.conf.d/my own.conf' && restart it"));
}

TEST(Judgement, OfUnits) {
  Findings findings;
  judge_units({{"virt-forward.target", "enabled"},
               {"virt-forwardd.socket", "enabled-runtime"},
               {"virt-forward-ssh.socket", "static"}},
              findings);
  EXPECT_EQ(ids(findings), "");
  judge_units({{"virt-forward.target", "disabled"},
               {"virt-forward-relay.socket", "disabled"},
               {"virt-forwardd.socket", "masked"},
               {"virt-forward-ssh.socket", ""}},
              findings);
  ASSERT_EQ(ids(findings), "units-missing units-masked units-disabled");
  EXPECT_EQ(findings[1].fix, "systemctl unmask virt-forwardd.socket");
  EXPECT_EQ(findings[2].fix, "systemctl enable --now virt-forward.target");
}

// The target wants the sockets; without it each of them does.
TEST(Judgement, OfUnitsThatAreStartedByOthers) {
  Findings findings;
  judge_units({{"virt-forward.target", "enabled"}, {"virt-forwardd.socket", "disabled"}}, findings);
  judge_units({{"virt-forward.target", "disabled"}, {"virt-forwardd.socket", "enabled"}}, findings);
  EXPECT_EQ(ids(findings), "");
}

TEST(Judgement, OfLibvirtsAnswers) {
  Findings findings;
  judge_libvirt("qemu:///system", {}, findings);
  EXPECT_EQ(ids(findings), "");
  judge_libvirt(
      "qemu:///system",
      Unexpected(ErrorCode::failed,
                 "Failed to connect socket to '/var/run/libvirt/libvirt-sock': Permission denied"),
      findings);
  EXPECT_THAT(findings[0].fix, HasSubstr("usermod --append --groups libvirt"));
}

TEST(Judgement, OfPolkitsAnswers) {
  Findings findings;
  judge_polkit("alice",
               std::vector<PolkitAnswer>{{"org.virtforward1.read", true, true, false},
                                         {"org.virtforward1.add", true, false, true},
                                         {"org.virtforward1.remove", true, false, false}},
               findings);
  ASSERT_EQ(ids(findings), "polkit-refuses polkit-refuses");
  EXPECT_THAT(findings[0].message, HasSubstr("not without a password"));
  EXPECT_EQ(findings[0].severity, Severity::warning);
  EXPECT_THAT(findings[1].message,
              AllOf(HasSubstr("org.virtforward1.remove"), HasSubstr("\"no\"")));
}

// Of Debian 12's libvirtd profile, and of Fedora's policy.
constexpr char log_lines[] =
    "5,1102,99,-;audit: type=1400 audit(1700000000.123:45): apparmor=\"DENIED\" operation=\"exec\" "
    "profile=\"libvirtd\" name=\"/opt/virt-forward/virt-forward-hook\" pid=812 "
    "comm=\"rpc-libvirtd\" "
    "requested_mask=\"x\" denied_mask=\"x\" fsuid=0 ouid=0\n"
    "5,1103,99,-;audit: type=1400 audit(1700000001.123:46): apparmor=\"DENIED\" operation=\"exec\" "
    "profile=\"libvirtd\" name=\"/opt/virt-forward/virt-forward-hook\" pid=813 "
    "comm=\"rpc-libvirtd\" "
    "requested_mask=\"x\" denied_mask=\"x\" fsuid=0 ouid=0\n"
    "5,1104,99,-;audit: type=1400 audit(1700000001.123:47): apparmor=\"DENIED\" operation=\"open\" "
    "profile=\"snap.firefox\" name=\"/etc/fstab\" pid=9 comm=\"firefox\" requested_mask=\"r\" "
    "denied_mask=\"r\"\n"
    "5,1105,99,-;audit: type=1400 audit(1700000001.123:48): apparmor=\"ALLOWED\" "
    "operation=\"exec\" "
    "profile=\"libvirtd\" name=\"/etc/libvirt/hooks/qemu\" pid=9 comm=\"rpc-libvirtd\"\n"
    "type=AVC msg=audit(1700000002.001:311): avc:  denied  { execute } for  pid=1412 "
    "comm=\"rpc-virtqemud\" "
    "name=\"virt-forward-hook\" dev=\"dm-0\" ino=1313 scontext=system_u:system_r:virtqemud_t:s0 "
    "tcontext=system_u:object_r:default_t:s0 tclass=file permissive=0\n";

TEST(Judgement, OfDenials) {
  DenialFacts facts;
  facts.any = true;
  facts.log = log_lines;
  Findings findings;
  judge_denials(facts, findings);
  ASSERT_EQ(ids(findings), "apparmor-denied selinux-denied");
  EXPECT_EQ(findings[0].subject, "/opt/virt-forward/virt-forward-hook");
  EXPECT_EQ(findings[0].fix,
            "echo '/opt/virt-forward/virt-forward-hook rPUx,' >> "
            "/etc/apparmor.d/local/usr.sbin.libvirtd && "
            "apparmor_parser --replace /etc/apparmor.d/usr.sbin.libvirtd");
  EXPECT_THAT(findings[1].message, AllOf(HasSubstr("execute"), HasSubstr("virtqemud_t")));
  EXPECT_THAT(findings[1].fix, HasSubstr("restorecon"));
  Findings none;
  judge_denials({.log = "", .any = true, .unread = {}}, none);
  EXPECT_EQ(ids(none), "");
  judge_denials(
      {.log = "", .any = false, .unread = {{ErrorCode::not_allowed, "/dev/kmsg: not for you"}}},
      none);
  ASSERT_EQ(ids(none), "denials");
  EXPECT_EQ(none[0].severity, Severity::not_checked);
}

TEST(Judgement, OfDenialsWithoutAPath) {
  const auto fix = [](const std::string& what) {
    Findings findings;
    judge_denials({.log = "audit: apparmor=\"DENIED\" profile=\"virt-forwardd\" comm=\"a\" " + what,
                   .any = true,
                   .unread = {}},
                  findings);
    EXPECT_EQ(ids(findings), "apparmor-denied");
    const std::string& text = findings.at(0).fix;
    return text.substr(0, text.find(" >> "));
  };
  EXPECT_EQ(fix("operation=\"ptrace\" denied_mask=\"read\" peer=\"qemu\""),
            "echo 'ptrace (read) peer=qemu,'");
  EXPECT_EQ(fix("operation=\"signal\" denied_mask=\"send\" signal=term peer=\"qemu\""),
            "echo 'signal (send) peer=qemu,'");
  EXPECT_EQ(fix("operation=\"capable\" capability=12  capname=\"net_admin\""),
            "echo 'capability net_admin,'");
  EXPECT_EQ(fix("operation=\"create\" family=\"inet\" sock_type=\"raw\" denied_mask=\"create\""),
            "echo 'network inet raw,'");
  EXPECT_THAT(fix("operation=\"mount\""), HasSubstr("editor /etc/apparmor.d/local/virt-forwardd"));
}

// Each time that our daemon connects, where its profile is enforced.
TEST(Judgement, OfLibvirtLookingAtOurDaemon) {
  Findings findings;
  judge_denials(
      {.log = "audit: apparmor=\"DENIED\" operation=\"ptrace\" profile=\"libvirtd\" pid=240 "
              "comm=\"prio-rpc-libvir\" requested_mask=\"read\" denied_mask=\"read\" "
              "peer=\"virt-forwardd\"\n",
       .any = true,
       .unread = {}},
      findings);
  EXPECT_EQ(ids(findings), "");
}

HookFacts good_hook() {
  HookFacts facts;
  facts.program = "/usr/sbin/virt-forward-hook";
  facts.link = "/etc/libvirt/hooks/qemu.d/50-virt-forward";
  facts.kind = HookFacts::Link::link;
  facts.target = facts.program;
  facts.leads_there = facts.exists = facts.executable = facts.program_exists = true;
  facts.since = 1000;
  facts.own_version = "virt-forward-hook 0.1.0";
  facts.version = facts.own_version;
  facts.daemon_answers = true;
  return facts;
}

TEST(Judgement, OfWhetherLibvirtNoticedTheHook) {
  const auto judged = [](HookFacts facts) {
    Findings findings;
    judge_hook(facts, findings);
    return ids(findings);
  };
  HookFacts facts = good_hook();
  EXPECT_EQ(judged(facts), "") << "no libvirt runs";
  facts.libvirt = {{1, "libvirtd", 2000, 0}};
  EXPECT_EQ(judged(facts), "");
  facts.libvirt = {{1, "libvirtd", 500, 0}};
  EXPECT_EQ(judged(facts), "hook-not-noticed");
  facts.heard = 499;
  EXPECT_EQ(judged(facts), "hook-not-noticed") << "that was an earlier libvirtd";
  facts.heard = 1200;
  EXPECT_EQ(judged(facts), "");
  facts.heard.reset();
  facts.others = {{"/etc/libvirt/hooks/qemu", true, 400, "#!/bin/sh\n", true, false}};
  EXPECT_EQ(judged(facts), "") << "one that found hooks runs all of them";
  facts.others[0].changed = 600;
  EXPECT_EQ(judged(facts), "hook-not-noticed");
  facts.libvirt[0].uid = 1000;
  EXPECT_EQ(judged(facts), "") << "of a session";
}

TEST(Judgement, OfOtherHooks) {
  HookFacts facts = good_hook();
  const std::string path = "/etc/libvirt/hooks/qemu";
  const auto judged = [&](const std::string& text, bool interpreter = true,
                          bool executable = true) {
    facts.others = {{path, executable, 0, text, interpreter, false}};
    Findings findings;
    judge_hook(facts, findings);
    return ids(findings);
  };
  EXPECT_EQ(judged("#!/bin/sh\nlogger \"$1 $2\"\n"), "");
  EXPECT_EQ(judged("#!/bin/none\n", false), "other-hook-broken");
  EXPECT_EQ(judged("echo\n"), "other-hook-broken");
  EXPECT_EQ(judged("echo\n", true, false), "") << "libvirt skips it";
  EXPECT_EQ(judged("#!/bin/sh\n/usr/bin/virsh list\n"), "other-hook-calls-libvirt");
  EXPECT_EQ(judged("#!/bin/sh\nid=$(virsh domid \"$1\")\n"), "other-hook-calls-libvirt");
  EXPECT_EQ(judged("#!/bin/sh\n# never call virsh here\necho > /tmp/virsh.log\n"), "");
}

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

}  // namespace
}  // namespace vf
