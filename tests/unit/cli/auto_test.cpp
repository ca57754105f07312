// SPDX-License-Identifier: LGPL-2.1-or-later
//
// The verbs auto, block and unblock, and ports in watch and list.

#include <gmock/gmock.h>

#include "program_lab.h"

namespace vf {
namespace {

using testing::HasSubstr;
using testing::Not;
using testing::StartsWith;

class Automatic : public ProgramLab {
 protected:
  Automatic() {
    DomainView domain = fake_domain();
    domain.automatic = true;
    domain.guest_agent = "connected";
    daemon_.model.add(domain);
    daemon_.model.add(port_);
    PortView forwarded = fake_port("tcp:localhost=80");
    forwarded.port = Port::from(80);
    forwarded.addresses = {IpAddress::loopback4(), IpAddress::loopback6()};
    forwarded.state = DetectedState::forwarded;
    forwarded.rule.reset();
    forwarded.reason.clear();
    forwarded.forward = "auto:tcp:localhost=80";
    daemon_.model.add(forwarded);
  }
  std::string asked() { return daemon_.controller.asked.back().forward; }
  EditScope scope() { return daemon_.controller.asked.back().scope; }
  PortView port_ = fake_port();
};

TEST_F(Automatic, ShowsSwitchAgentAndPorts) {
  ForwardView forward = fake_forward("auto:tcp:localhost=80");
  forward.origin = Origin::automatic;
  daemon_.model.add(forward);
  const ProgramResult result = run({"auto", "web"});
  EXPECT_EQ(result.status, 0) << result.err;
  EXPECT_EQ(result.out,
            "automatic forwarding: on\n"
            "guest agent: connected\n"
            "\n"
            "PORT  ADDRESS        PROCESS  STATE      RULE  FORWARD\n"
            "80    127.0.0.1 ::1  node     forwarded  -     http://127.0.0.1:8080\n"
            "3000  0.0.0.0        node     ignored    2     -                      "
            "rule 2 ignores it\n");
  EXPECT_TRUE(daemon_.controller.asked.empty());
}

TEST_F(Automatic, IsSwitchedOnWhereNothingTellsOfPorts) {
  DomainView web = fake_domain();
  web.guest_agent = "no-vsock";
  daemon_.model.change(web);
  EXPECT_EQ(run({"auto", "web", "on"}).err,
            "virt-forward: nothing tells of its ports yet: the domain has no <vsock> device; "
            "see virt-forward doctor web\n");
  EXPECT_EQ(run({"auto", "web", "off"}).err, "");
  EXPECT_THAT(run({"auto", "web"}).out,
              testing::HasSubstr("guest agent: no-vsock: the domain has no <vsock> device\n"));
}

TEST_F(Automatic, WhyItIsOffIsSaidOnceAndHowItIsSwitchedOn) {
  DomainView domain = fake_domain(uuid2, "my db");
  domain.guest_agent = "connected";
  daemon_.model.add(domain);
  for (const unsigned number : {22u, 3000u}) {
    PortView port = fake_port("tcp:" + std::to_string(number), uuid2);
    port.port = Port::from(number);
    port.rule.reset();
    port.reason = "automatic forwarding is off for this domain ([host] automatic, by default)";
    daemon_.model.add(port);
  }
  PortView blocked = fake_port("tcp:4000", uuid2);
  blocked.port = Port::from(4000);
  blocked.state = DetectedState::blocked;
  blocked.reason = "rule 2 blocks it";
  daemon_.model.add(blocked);
  const std::string table =
      "PORT  ADDRESS  PROCESS  STATE    RULE  FORWARD\n"
      "22    0.0.0.0  node     ignored  -     -\n"
      "3000  0.0.0.0  node     ignored  -     -\n"
      "4000  0.0.0.0  node     blocked  2     -        rule 2 blocks it\n"
      "\n"
      "ignored: automatic forwarding is off for this domain ([host] automatic, by default)\n";
  EXPECT_EQ(run({"auto", "my db"}).out,
            "automatic forwarding: off; switched on by: virt-forward auto 'my db' on\n"
            "guest agent: connected\n"
            "\n" +
                table);
  daemon_.model.uri = "qemu:///session";
  EXPECT_EQ(run({"auto", "my db"}).out,
            "automatic forwarding: off; switched on by: virt-forward -c qemu:///session auto 'my "
            "db' on\n"
            "guest agent: connected\n"
            "\n" +
                table);
}

TEST_F(Automatic, JsonIsOneObject) {
  const ProgramResult result = run({"auto", "web", "--json"});
  EXPECT_THAT(result.out,
              StartsWith("{\"domain\":\"web\",\"uuid\":\"00000000-0000-4000-8000-000000000001\","
                         "\"automatic\":true,\"guest-agent\":\"connected\",\"ports\":[\n"));
  EXPECT_THAT(
      result.out,
      HasSubstr(
          "\"id\":\"tcp:3000\",\"protocol\":\"tcp\",\"port\":3000,\"addresses\":[\"0.0.0.0\"],"
          "\"process\":{\"name\":\"node\",\"pid\":42,\"command\":\"node server.js\"},"
          "\"user-id\":1000,\"state\":\"ignored\",\"rule\":2,\"reason\":\"rule 2 ignores it\","
          "\"source\":\"agent\",\"notify\":true,\"open\":false}\n]}\n"));
}

TEST_F(Automatic, IsSwitched) {
  EXPECT_EQ(run({"auto", "web", "on"}).status, 0);
  EXPECT_EQ(asked(), "auto yes");
  EXPECT_FALSE(scope().live || scope().config || scope().persistent);
  EXPECT_EQ(run({"auto", "web", "off", "--config"}).status, 0);
  EXPECT_EQ(asked(), "auto no");
  EXPECT_TRUE(scope().config);
  EXPECT_EQ(run({"auto", "web", "policy"}).out, "");
  EXPECT_EQ(asked(), "auto policy");
  EXPECT_EQ(run({"auto", "web", "yes"}).status, 2);
  EXPECT_EQ(run({"auto", "nobody", "on"}).status, 3);
}

TEST_F(Automatic, BlocksAndUnblocks) {
  const ProgramResult result = run({"block", "web", "3000"});
  EXPECT_EQ(result.status, 0) << result.err;
  EXPECT_EQ(result.out + result.err, "");
  EXPECT_EQ(asked(), "block tcp 3000");
  EXPECT_FALSE(scope().live || scope().config || scope().persistent);
  EXPECT_EQ(run({"unblock", "web", "8000-8009/udp", "--live"}).status, 0);
  EXPECT_EQ(asked(), "unblock udp 8000-8009");
  EXPECT_TRUE(scope().live);
  EXPECT_THAT(run({"block", "web", "3000", "--json"}).out, StartsWith("{\"domain\":\"web\""));
  for (const char* wrong : {"0", "80/sctp", "9-8", "http", ""})
    EXPECT_EQ(run({"block", "web", wrong}).status, 2) << wrong;
  EXPECT_EQ(run({"block", "web"}).status, 2);
  daemon_.controller.switched = Unexpected(ErrorCode::no_such_forward, "is not blocked");
  EXPECT_EQ(run({"unblock", "web", "3000"}).status, 3);
}

TEST_F(Automatic, Allows) {
  port_.state = DetectedState::asking;
  daemon_.model.change(port_);
  const ProgramResult result = run({"allow", "web", "3000"});
  EXPECT_EQ(result.status, 0) << result.err;
  EXPECT_EQ(result.out, "");
  EXPECT_THAT(result.err, HasSubstr("asked about again at the next start"));
  EXPECT_EQ(asked(), "allow tcp 3000 ");
  EXPECT_FALSE(scope().live || scope().config || scope().persistent);
  EXPECT_EQ(run({"allow", "web", "3000", "--process"}).err, "");
  EXPECT_EQ(asked(), "allow tcp 3000 node");
  EXPECT_EQ(run({"allow", "web", "3000", "--persistent"}).err, "");
  EXPECT_TRUE(scope().persistent);
  run({"allow", "web", "3000/udp", "--persistent"});
  EXPECT_EQ(asked(), "allow udp 3000 ");
  EXPECT_TRUE(scope().persistent);
  EXPECT_THAT(run({"allow", "web", "3000", "--json"}).out, StartsWith("{\"domain\":\"web\""));
  EXPECT_EQ(run({"allow", "web"}).status, 2);
  EXPECT_EQ(run({"allow", "web", "3000-2000"}).status, 2);
}

TEST_F(Automatic, AllowSaysThatNothingAsks) {
  const ProgramResult result = run({"allow", "web", "3000"});  // it is ignored
  EXPECT_EQ(result.status, 0);
  EXPECT_THAT(result.err, HasSubstr("no rule asks about tcp port 3000 now; it is forwarded "
                                    "whenever the guest has it open\n"));
  EXPECT_THAT(result.err, HasSubstr("no longer so at the next start of \"web\""));
  EXPECT_THAT(result.err, Not(HasSubstr("asked about again")));
  EXPECT_EQ(run({"allow", "web", "4000-4009/udp", "--config"}).err,
            "virt-forward: no rule asks about udp port 4000-4009 now; it is forwarded whenever the "
            "guest has it open, from the next start on\n");
}

TEST_F(Automatic, AllowOfAProcessNeedsOne) {
  const std::size_t before = daemon_.controller.asked.size();
  const ProgramResult none = run({"allow", "web", "4000", "--process"});
  EXPECT_EQ(none.status, 3);
  EXPECT_THAT(none.err, HasSubstr("names no process"));
  PortView other = fake_port("tcp:3001");
  other.port = Port::from(3001);
  other.process = ProcessView{"ruby", 43, "ruby"};
  daemon_.model.add(other);
  const ProgramResult two = run({"allow", "web", "3000-3001", "--process"});
  EXPECT_NE(two.status, 0);
  EXPECT_THAT(two.err, HasSubstr("more than one process"));
  EXPECT_EQ(daemon_.controller.asked.size(), before);
}

TEST_F(Automatic, AllowSaysWhenNothingIsForwardedByItself) {
  DomainView domain = fake_domain();
  domain.automatic = false;
  daemon_.model.change(domain);
  EXPECT_THAT(run({"allow", "web", "3000"}).err, HasSubstr(": virt-forward auto web on\n"));
}

TEST_F(Automatic, WatchTellsOfPorts) {
  RunningProgram program(command({"--address", daemon_.address, "watch", "--json"}));
  EXPECT_THAT(program.line(), HasSubstr("{\"event\":\"detected\",\"port\":{\"domain\":\"web\""));
  EXPECT_THAT(program.line(), HasSubstr("\"event\":\"detected\""));
  port_.state = DetectedState::blocked;
  daemon_.model.change(port_);
  const std::string changed = program.line();
  EXPECT_THAT(changed, StartsWith("{\"event\":\"detected\",\"port\":"));
  EXPECT_THAT(changed, HasSubstr("\"state\":\"blocked\""));
  daemon_.model.remove(port_);
  EXPECT_THAT(program.line(), StartsWith("{\"event\":\"gone\",\"port\":"));
  program.interrupt();
  EXPECT_EQ(program.status(), 0);
}

TEST_F(Automatic, ListShowsTheProcess) {
  ForwardView forward = fake_forward("auto:tcp:3000");
  forward.origin = Origin::automatic;
  forward.process = ProcessView{"node", 42, "node server.js"};
  daemon_.model.add(forward);
  EXPECT_THAT(run({"list"}).out, HasSubstr("web     node  http://127.0.0.1:8080"));
  EXPECT_THAT(run({"list", "--json"}).out, HasSubstr("\"origin\":\"auto\",\"process\":{\"name\":"));
}

}  // namespace
}  // namespace vf
