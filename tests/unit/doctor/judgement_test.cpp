// SPDX-License-Identifier: LGPL-2.1-or-later
//
// The edges; tests/e2e/test_doctor*.py causes every finding.

#include <gmock/gmock.h>

#include "doctor/denials.h"
#include "doctor/hook.h"
#include "doctor/permissions.h"
#include "doctor/policy.h"
#include "doctor/services.h"
#include "judgement_lab.h"

namespace vf {
namespace {

using testing::HasSubstr;
using testing::Not;

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

}  // namespace
}  // namespace vf
