// SPDX-License-Identifier: LGPL-2.1-or-later
//
// The texts are those of QEMU 7.2.22 with libslirp 4.7.0 (Debian 12), printed for the commands that
// stand beside them by `virsh qemu-monitor-command DOMAIN --hmp`.

#include "transport/usernet_monitor.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace vf {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::Not;

Endpoint endpoint(const char* address, unsigned port) {
  return {*IpAddress::parse(address), *Port::from(port)};
}

TEST(UsernetMonitor, Commands) {
  const Endpoint host = endpoint("127.64.1.2", 61000);
  const Port web = *Port::from(80);
  EXPECT_EQ(hostfwd_add("hostnet0", Protocol::tcp, host, {}, web),
            "hostfwd_add hostnet0 tcp:127.64.1.2:61000-:80");
  EXPECT_EQ(hostfwd_add("hostnet0", Protocol::udp, host, IpAddress::parse("10.0.2.99"), web),
            "hostfwd_add hostnet0 udp:127.64.1.2:61000-10.0.2.99:80");
  EXPECT_EQ(hostfwd_remove({"hostnet0", Protocol::udp, host, endpoint("10.0.2.15", 80)}),
            "hostfwd_remove hostnet0 udp:127.64.1.2:61000");
}

TEST(UsernetMonitor, AnAliasThatCouldEndACommandHasNoNetdev) {
  EXPECT_EQ(usernet_netdev("net0"), "hostnet0");
  EXPECT_EQ(usernet_netdev("ua-Web_1"), "hostua-Web_1");
  for (const char* alias : {"", "net 0", "net0\n", "net0;quit", "-net0", "n\xc3\xa4t", "net0\x7f"})
    EXPECT_FALSE(usernet_netdev(alias)) << alias;
  EXPECT_FALSE(usernet_netdev(std::string(65, 'a')));
}

TEST(UsernetMonitor, OnlySilenceIsSuccessOfAdding) {
  EXPECT_TRUE(hostfwd_added(""));
  EXPECT_TRUE(hostfwd_added("\r\n"));
  const auto code = [](const char* reply) { return hostfwd_added(reply).error().code; };
  // the same rule twice; also for an address that is not this host's (tcp:8.8.8.8:40009-:80)
  EXPECT_EQ(code("Could not set up host forwarding rule 'tcp:127.77.1.2:40001-:80'\r\n"),
            ErrorCode::port_busy);
  EXPECT_EQ(code("unrecognized netdev id 'hostnet9'\r\n"), ErrorCode::no_such_forward);
  // a netdev that is no user network (-netdev socket)
  EXPECT_EQ(code("invalid device specified\r\n"), ErrorCode::no_such_forward);
  for (const char* text :
       {// tcp:[::1]:40005-:80
        "Invalid host forwarding rule 'tcp:[::1]:40005-:80' (Bad host address)\r\n",
        // tcp:127.77.1.2:40005-[fec0::2]:80
        "Invalid host forwarding rule 'tcp:127.77.1.2:40005-[fec0::2]:80' (Bad guest address)\r\n",
        // unix:/tmp/x-:80
        "Invalid host forwarding rule 'unix:/tmp/x-:80' (Bad protocol name)\r\n",
        // without arguments
        "hostfwd_add: string expected\r\nTry \"help hostfwd_add\" for more information\r\n"}) {
    const auto added = hostfwd_added(text);
    ASSERT_FALSE(added) << text;
    EXPECT_EQ(added.error().code, ErrorCode::failed);
    EXPECT_THAT(added.error().message, HasSubstr("QEMU says: "));
    EXPECT_THAT(added.error().message, Not(HasSubstr("\n")));
  }
}

// The reply that says so is a text, too.
TEST(UsernetMonitor, RemovingSaysThatItDid) {
  for (const char* text :
       {"host forwarding rule for tcp:127.77.1.2:40001 removed\r\n",
        "host forwarding rule for tcp:127.77.1.2:40001 not found\r\n",  // a second time
        "unrecognized netdev id 'hostnet9'\r\n", "invalid device specified\r\n"})
    EXPECT_TRUE(hostfwd_removed(text)) << text;
  // hostfwd_remove hostnet0 foo
  EXPECT_THAT(hostfwd_removed("invalid format\r\n").error().message, HasSubstr("invalid format"));
  EXPECT_FALSE(hostfwd_removed(""));
}

TEST(UsernetMonitor, WordsAreBoundedAndPrintable) {
  const std::string message = hostfwd_added("\x1b[31m" + std::string(100'000, 'x')).error().message;
  EXPECT_LT(message.size(), 300u);
  EXPECT_THAT(message, Not(HasSubstr("\x1b")));
}

TEST(UsernetMonitor, ASurveyListsForwardsAmongConnections) {
  const auto rules = usernet_rules(
      "Hub -1 (hostnet0):\r\n"
      "  Protocol[State]    FD  Source Address  Port   Dest. Address  Port RecvQ SendQ\r\n"
      "  TCP[SYN_SENT]      11      127.77.1.2 40002       10.0.2.99    80     0     0\r\n"
      "  TCP[HOST_FORWARD]  21               * 41347       10.0.2.15    80     0     0\r\n"
      "  TCP[HOST_FORWARD]  19      127.77.1.2 40011 255.255.255.255    80     0     0\r\n"
      "  UDP[HOST_FORWARD]  12      127.77.1.2 40001       10.0.2.15    80     0     0\r\n"
      "Hub -1 (hostua-web_1-x):\r\n"
      "  Protocol[State]    FD  Source Address  Port   Dest. Address  Port RecvQ SendQ\r\n"
      "  TCP[HOST_FORWARD]  15      127.77.1.2 40004       10.0.2.15    80     0     0\r\n"
      "\r\n");
  ASSERT_TRUE(rules);
  EXPECT_THAT(*rules,
              ElementsAre(UsernetRule{"hostnet0", Protocol::tcp, endpoint("127.77.1.2", 40011),
                                      endpoint("255.255.255.255", 80)},
                          UsernetRule{"hostnet0", Protocol::udp, endpoint("127.77.1.2", 40001),
                                      endpoint("10.0.2.15", 80)},
                          UsernetRule{"hostua-web_1-x", Protocol::tcp,
                                      endpoint("127.77.1.2", 40004), endpoint("10.0.2.15", 80)}));
}

TEST(UsernetMonitor, ASurveyOfNothing) {
  EXPECT_THAT(*usernet_rules(""), IsEmpty());  // no user network at all
  EXPECT_THAT(*usernet_rules("Hub -1 (hostnet0):\r\n"
                             "  Protocol[State]    FD  Source Address  Port   Dest. Address  Port "
                             "RecvQ SendQ\r\n\r\n"),
              IsEmpty());
  EXPECT_THAT(usernet_rules("unknown command: 'info usernet'\r\n").error().message,
              HasSubstr("unknown command"));
}

TEST(UsernetMonitor, LinesThatAreOddAreLeftOut) {
  for (const char* line :
       {"TCP[HOST_FORWARD]", "TCP[HOST_FORWARD] 1 127.64.0.2",
        "TCP[HOST_FORWARD] 1 127.64.0.2 0 1.2.3.4 5",
        "TCP[HOST_FORWARD] 1 127.64.0.2 65536 1.2.3.4 5", "TCP[HOST_FORWARD] 1 ::1 6 1.2.3.4 5",
        "SCTP[HOST_FORWARD] 1 127.64.0.2 7 1.2.3.4 5", "TCP[HOST_FORWARD] 1 127.64.0.2 7 x 5"})
    EXPECT_THAT(*usernet_rules("Hub -1 (n):\n  " + std::string(line)), IsEmpty()) << line;
}

}  // namespace
}  // namespace vf
