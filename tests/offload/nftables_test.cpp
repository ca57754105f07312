// SPDX-License-Identifier: LGPL-2.1-or-later
//
// What is nftables' own, on the real kernel: the guard, the sysctl, UDP, and what others do to the
// ruleset.

#include "offload/nftables.h"

#include <fcntl.h>
#include <glib.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <linux/capability.h>
#include <linux/netlink.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <fstream>

#include "attacker.h"
#include "offload/client_socket.h"
#include "place.h"
#include "private_network.h"

namespace vf::test {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::Not;

bool nft(const std::string& commands) {
  return std::system(("nft '" + commands + "'").c_str()) == 0;
}

std::string nft_list(const std::string& what) {
  FILE* output = popen(("nft list " + what + " 2>&1").c_str(), "r");
  std::string text;
  char part[4096];
  while (fgets(part, sizeof part, output))
    text += part;
  pclose(output);
  return text;
}

int read_sysctl(const std::string& name) {
  int value = -1;
  std::ifstream("/proc/sys/net/" + name) >> value;
  return value;
}

int route_localnet(const std::string& link) {
  return read_sysctl("ipv4/conf/" + link + "/route_localnet");
}

constexpr int mark = route_localnet_mark;

class NftablesKernelTest : public ::testing::Test {
 protected:
  void TearDown() override {
    offload.reset();
    EXPECT_EQ(nft_list("tables"), "");
    EXPECT_EQ(route_localnet("vbr0"), 0);
  }
  void start() {
    const auto started =
        offload->start({[this](const KernelOffload::Loss& loss) { losses.push_back(loss); }});
    ASSERT_TRUE(started) << started.error().message;
  }
  void add(const Forward& forward) {
    const auto applied = offload->apply({}, {&forward.entry, 1});
    ASSERT_TRUE(applied) << applied.error().message;
  }
  void remove(const Forward& forward) { ASSERT_TRUE(offload->apply({&forward.entry, 1}, {})); }
  void cut(const Forward& forward) { offload->cut({&forward.entry.key, 1}); }
  std::uint64_t connections(const Forward& forward) {
    const auto counts = offload->counts();
    EXPECT_TRUE(counts) << counts.error().message;
    const auto found = counts->find(forward.entry.key);
    return found == counts->end() ? 0 : found->second.connections;
  }
  bool mended(std::size_t times) {
    const bool told = run_until([&] { return losses.size() >= times; });
    // What mending itself makes the kernel tell.
    while (g_main_context_iteration(nullptr, FALSE)) {
    }
    return told && losses.back().mended && losses.size() == times;
  }

  // A process that takes `forward` until it is killed.
  void start_in_child(const Forward& forward) {
    int ready[2];
    ASSERT_EQ(pipe2(ready, O_CLOEXEC), 0);
    child = fork();
    if (child == 0) {
      NftablesOffload own;
      if (!own.start({}) || !own.apply({}, {&forward.entry, 1})) _exit(1);
      if (write(ready[1], "", 1) != 1) _exit(1);
      while (true)
        pause();
    }
    const Fd told(ready[0]);
    close(ready[1]);
    char byte = 0;
    ASSERT_EQ(read(told.get(), &byte, 1), 1);
  }
  void kill_child() {
    kill(child, SIGKILL);
    waitpid(child, nullptr, 0);
  }

  Place place;
  pid_t child = -1;
  std::vector<KernelOffload::Loss> losses;
  std::unique_ptr<NftablesOffload> offload = std::make_unique<NftablesOffload>();
};

TEST_F(NftablesKernelTest, TheSysctlIsOnWhileAnEntryOrAConnectionNeedsIt) {
  start();
  const Forward forward = make_forward(place, "a/web");
  EXPECT_EQ(route_localnet("vbr0"), 0);
  add(forward);
  EXPECT_EQ(route_localnet("vbr0"), mark);
  EXPECT_EQ(route_localnet("all"), 0);
  {
    const Connection made = connection(forward);
    ASSERT_EQ(made.reached, Connection::guest);
    remove(forward);
    EXPECT_TRUE(talks(made.client, made.server));
    EXPECT_EQ(route_localnet("vbr0"), mark);
  }
  EXPECT_TRUE(run_until([] { return route_localnet("vbr0") == 0; }));
}

TEST_F(NftablesKernelTest, AnAdministratorsSysctlStays) {
  write_sysctl("ipv4/conf/vbr0/route_localnet", 1);
  start();
  const Forward forward = make_forward(place, "a/web");
  add(forward);
  EXPECT_EQ(connection(forward).reached, Connection::guest);
  offload.reset();
  EXPECT_EQ(route_localnet("vbr0"), 1);
  write_sysctl("ipv4/conf/vbr0/route_localnet", 0);
}

TEST_F(NftablesKernelTest, TakesDatagrams) {
  start();
  Fd relay(socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0));
  const SocketAddress at = SocketAddress::from(IpAddress::loopback4(), {});
  ASSERT_EQ(bind(relay.get(), at.get(), at.length), 0);
  Fd guest;
  place.guest().run([&] {
    guest = Fd(socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0));
    const SocketAddress there = SocketAddress::from(*IpAddress::parse("10.9.0.2"), {});
    ASSERT_EQ(bind(guest.get(), there.get(), there.length), 0);
  });
  const OffloadEntry entry{"a/dns", Protocol::udp, endpoint("127.0.0.1", port_of(relay)),
                           endpoint("10.9.0.2", port_of(guest)), "vbr0"};
  ASSERT_TRUE(offload->apply({}, {&entry, 1}));

  const timeval deadline{5, 0};
  for (const Fd* socket : {&relay, &guest})
    setsockopt(socket->get(), SOL_SOCKET, SO_RCVTIMEO, &deadline, sizeof deadline);
  const Fd client(socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0));
  setsockopt(client.get(), SOL_SOCKET, SO_RCVTIMEO, &deadline, sizeof deadline);
  const SocketAddress to = SocketAddress::from(entry.host.address, entry.host.port);
  char byte = 'q';
  const auto ask = [&] { return sendto(client.get(), &byte, 1, 0, to.get(), to.length) == 1; };
  SocketAddress from;
  from.length = sizeof from.storage;
  ASSERT_TRUE(ask());
  ASSERT_EQ(recvfrom(guest.get(), &byte, 1, 0, from.get(), &from.length), 1);
  ASSERT_EQ(sendto(guest.get(), &byte, 1, 0, from.get(), from.length), 1);
  from.length = sizeof from.storage;
  ASSERT_EQ(recvfrom(client.get(), &byte, 1, 0, from.get(), &from.length), 1);
  EXPECT_EQ(from.endpoint(), entry.host);
  EXPECT_EQ(offload->counts()->at("a/dns").connections, 1);

  // One that is there goes on, until it is cut.
  ASSERT_TRUE(offload->apply({&entry, 1}, {}));
  ASSERT_TRUE(ask());
  EXPECT_EQ(recv(guest.get(), &byte, 1, 0), 1);
  offload->cut({&entry.key, 1});
  EXPECT_EQ(offload->counts()->size(), 0);
  ASSERT_TRUE(ask());
  EXPECT_EQ(recv(relay.get(), &byte, 1, 0), 1);
}

TEST_F(NftablesKernelTest, AClientOfBothFamiliesIsTakenAndCut) {
  start();
  const Forward forward = make_forward(place, "a/web");
  add(forward);
  Fd client(socket(AF_INET6, SOCK_STREAM | SOCK_CLOEXEC, 0));
  const timeval deadline{5, 0};
  setsockopt(client.get(), SOL_SOCKET, SO_RCVTIMEO, &deadline, sizeof deadline);
  ASSERT_EQ(connect_socket(client, endpoint("::ffff:127.0.0.1", forward.entry.host.port.number())),
            0);
  const Connection made = reached_by(std::move(client), forward);
  ASSERT_EQ(made.reached, Connection::guest);
  cut(forward);
  EXPECT_EQ(next_read(made.client), "error");
  EXPECT_EQ(next_read(made.server), "error");
  // What is still taken may begin again.
  EXPECT_EQ(connection(forward).reached, Connection::guest);
}

TEST_F(NftablesKernelTest, AClientBoundToAnotherAddress) {
  start();
  const Forward forward = make_forward(place, "a/web");
  add(forward);
  for (const char* address : {"127.0.0.9", "10.9.0.1"}) {
    const Connection made = connection(forward, [&](const Fd& socket) {
      const SocketAddress own = SocketAddress::from(*IpAddress::parse(address), {});
      bind(socket.get(), own.get(), own.length);
    });
    EXPECT_EQ(made.reached,
              address == std::string("10.9.0.1") ? Connection::relay : Connection::guest);
    EXPECT_TRUE(talks(made.client, made.server)) << address;
  }
}

TEST_F(NftablesKernelTest, AListeningSocketIsNeverAborted) {
  const Fd listener = listening("127.0.0.1");
  auto diag = NetlinkSocket::for_questions(NETLINK_SOCK_DIAG);
  ASSERT_TRUE(diag);
  EXPECT_FALSE(
      abort_client(*diag, endpoint("127.0.0.1", port_of(listener)), endpoint("127.0.0.1", 9)));
  const Client client = connect_to(endpoint("127.0.0.1", port_of(listener)));
  EXPECT_EQ(client.error, 0);
  EXPECT_TRUE(talks(client.socket, accepted(listener)));
}

TEST_F(NftablesKernelTest, TwoForwardsToOneServiceAreTold) {
  start();
  const Forward web = make_forward(place, "a/web");
  Forward also = make_forward(place, "a/also");
  also.entry.guest = web.entry.guest;
  add(web);
  add(also);
  const Connection first = connection(web);
  Client second = connect_to(also.entry.host);
  const Fd server = accepted(web.guest);
  ASSERT_TRUE(talks(second.socket, server));
  EXPECT_EQ(connections(web), 1);
  EXPECT_EQ(connections(also), 1);
  cut(also);
  EXPECT_EQ(next_read(second.socket), "error");
  EXPECT_TRUE(talks(first.client, first.server));
}

TEST_F(NftablesKernelTest, BytesAreKnownWhereTheKernelCountsThem) {
  start();
  const Forward forward = make_forward(place, "a/web");
  add(forward);
  {
    const Connection made = connection(forward);
    ASSERT_TRUE(talks(made.client, made.server));
    EXPECT_EQ(offload->counts()->at("a/web").bytes_in, std::nullopt);
    EXPECT_EQ(offload->counts()->at("a/web").bytes_out, std::nullopt);
    cut(forward);
  }
  write_sysctl("netfilter/nf_conntrack_acct", 1);
  const Connection made = connection(forward);
  ASSERT_TRUE(talks(made.client, made.server));
  const auto count = offload->counts()->at("a/web");
  EXPECT_GT(count.bytes_in.value_or(0), 1);
  EXPECT_GT(count.bytes_out.value_or(0), 1);
  write_sysctl("netfilter/nf_conntrack_acct", 0);
}

TEST_F(NftablesKernelTest, AConnectionThatBeganAtTheRelayStaysThere) {
  // The kernel did not track connections when this one began.
  const Forward forward = make_forward(place, "a/web");
  const Connection relayed = connection(forward);
  ASSERT_EQ(relayed.reached, Connection::relay);
  start();
  add(forward);
  EXPECT_TRUE(talks(relayed.client, relayed.server));
  EXPECT_EQ(connections(forward), 0);
  EXPECT_EQ(connection(forward).reached, Connection::guest);
}

TEST_F(NftablesKernelTest, NobodyTakesTheOwnTableAway) {
  start();
  const Forward forward = make_forward(place, "a/web");
  add(forward);
  EXPECT_FALSE(nft("delete table ip virt_forward"));
  EXPECT_FALSE(nft("flush chain ip virt_forward guard"));
  EXPECT_EQ(connection(forward).reached, Connection::guest);
}

TEST_F(NftablesKernelTest, WhatOthersDoToTheGuardIsMended) {
  start();
  const std::string table = nft_list("table ip virt_forward_guard");
  EXPECT_THAT(table, AllOf(HasSubstr("ip saddr 127.0.0.0/8 drop"),
                           HasSubstr("ip daddr 127.0.0.0/8 drop"), HasSubstr("nat hook output")));
  std::size_t times = 0;
  for (const char* blow :
       {"flush ruleset", "delete table ip virt_forward_guard",
        "flush chain ip virt_forward_guard guard", "insert rule ip virt_forward_guard guard accept",
        "add table ip virt_forward_guard { flags dormant; }"}) {
    ASSERT_TRUE(nft(blow)) << blow;
    EXPECT_TRUE(mended(++times)) << blow;
    EXPECT_EQ(nft_list("table ip virt_forward_guard"), table) << blow;
  }
  // Others' tables are none of our business.
  ASSERT_TRUE(nft("add table ip other"));
  ASSERT_TRUE(nft("flush ruleset"));
  EXPECT_TRUE(mended(++times));
}

TEST_F(NftablesKernelTest, NothingIsAddedToAnybodysTables) {
  start();
  const Forward forward = make_forward(place, "a/web");
  add(forward);
  EXPECT_EQ(nft_list("tables"), "table ip virt_forward_guard\ntable ip virt_forward\n");
}

TEST_F(NftablesKernelTest, ABridgeMadeAnewIsOpenedAgain) {
  start();
  const Forward forward = make_forward(place, "a/web");
  add(forward);
  ASSERT_TRUE(ip("link del vbr0"));
  ASSERT_TRUE(add_bridge("vbr0", "10.9.0.1/24"));
  ASSERT_TRUE(ip("link set vtap0 master vbr0"));
  EXPECT_TRUE(run_until([] { return route_localnet("vbr0") == mark; }));
  EXPECT_EQ(connection(forward).reached, Connection::guest);
  EXPECT_TRUE(losses.empty());
}

TEST_F(NftablesKernelTest, NoPeerReachesWhatTheHostServesToItself) {
  const Fd secret = listening("127.0.0.1");
  const unsigned port = port_of(secret);
  const Lan lan;
  const Attacker guest(place.guest(), "eth0", "10.9.0.2", "10.9.0.1");
  const Attacker neighbour(lan.machine, "eth0", "192.0.2.2", "192.0.2.1");
  const Forward forward = make_forward(place, "a/web");
  const unsigned taken = forward.entry.host.port.number();

  // The attack is real: this is what the sysctl does without the guard.
  write_sysctl("ipv4/conf/vbr0/route_localnet", 1);
  EXPECT_TRUE(guest.reaches("127.0.0.1", port));
  write_sysctl("ipv4/conf/vbr0/route_localnet", 0);
  EXPECT_FALSE(guest.reaches("127.0.0.1", port));

  const auto expect_closed = [&](const char* when) {
    EXPECT_FALSE(guest.reaches("127.0.0.1", port)) << when;
    EXPECT_FALSE(guest.reaches("127.0.0.1", taken)) << when;
    EXPECT_FALSE(neighbour.reaches("127.0.0.1", port)) << when;
    EXPECT_FALSE(neighbour.reaches("127.0.0.1", taken)) << when;
    EXPECT_FALSE(neighbour.reaches("192.0.2.1", taken)) << when;
    EXPECT_FALSE(guest.reaches("10.9.0.1", taken)) << when;
  };

  start();
  add(forward);
  ASSERT_EQ(route_localnet("vbr0"), mark);
  expect_closed("alive");
  ASSERT_TRUE(nft("flush ruleset"));
  expect_closed("flushed");
  EXPECT_TRUE(mended(1));
  expect_closed("mended");
  offload.reset();
  EXPECT_EQ(route_localnet("vbr0"), 0);
  expect_closed("ended");

  start_in_child(forward);
  ASSERT_EQ(route_localnet("vbr0"), mark);
  expect_closed("another process");
  ASSERT_TRUE(nft("flush ruleset"));
  expect_closed("another process that does not see the flush yet");
  kill_child();
  // It was killed before it could mend anything: this is the one case that is left, for as long as
  // it takes to start again.
  offload = std::make_unique<NftablesOffload>();
  start();
  EXPECT_EQ(route_localnet("vbr0"), 0);
  expect_closed("killed while flushed, and begun again");
  offload.reset();

  start_in_child(forward);
  kill_child();
  ASSERT_EQ(route_localnet("vbr0"), mark);
  expect_closed("killed");
  EXPECT_TRUE(clear_nftables_rests());
}

TEST_F(NftablesKernelTest, StartClearsWhatAKilledProcessLeft) {
  const Forward forward = make_forward(place, "a/web");
  start_in_child(forward);
  EXPECT_FALSE(clear_nftables_rests());
  const Connection made = connection(forward);
  ASSERT_EQ(made.reached, Connection::guest);
  kill_child();
  EXPECT_EQ(nft_list("tables"), "table ip virt_forward_guard\n");
  EXPECT_TRUE(talks(made.client, made.server));
  start();
  EXPECT_EQ(route_localnet("vbr0"), 0);
  EXPECT_EQ(next_read(made.client), "error");
  EXPECT_EQ(connection(forward).reached, Connection::relay);
}

TEST_F(NftablesKernelTest, RestsAreClearedFromOutside) {
  const Forward forward = make_forward(place, "a/web");
  start_in_child(forward);
  const Connection made = connection(forward);
  kill_child();
  const auto cleared = clear_nftables_rests();
  ASSERT_TRUE(cleared) << cleared.error().message;
  EXPECT_EQ(route_localnet("vbr0"), 0);
  EXPECT_EQ(nft_list("tables"), "");
  EXPECT_EQ(next_read(made.client), "error");
  EXPECT_TRUE(clear_nftables_rests());
}

TEST_F(NftablesKernelTest, ConnectionsEndVisiblyWithTheirOwner) {
  start();
  const Forward forward = make_forward(place, "a/web");
  add(forward);
  const Connection made = connection(forward);
  ASSERT_EQ(made.reached, Connection::guest);
  offload.reset();
  EXPECT_EQ(next_read(made.client), "error");
  EXPECT_EQ(next_read(made.server), "error");
  EXPECT_EQ(connection(forward).reached, Connection::relay);
}

TEST_F(NftablesKernelTest, OnlyOneProcessHasIt) {
  start();
  NftablesOffload second;
  const auto started = second.start({});
  ASSERT_FALSE(started);
  EXPECT_THAT(started.error().message, HasSubstr("another process"));
}

TEST_F(NftablesKernelTest, OnePrivilegeIsEnough) {
  const Forward forward = make_forward(place, "a/web");
  const pid_t process = fork();
  if (process == 0) {
    // An ordinary uid, so that nothing of root's is writable, /proc/sys least of all.
    if (prctl(PR_SET_KEEPCAPS, 1) != 0 || setresuid(65534, 65534, 65534) != 0) _exit(3);
    __user_cap_header_struct header{_LINUX_CAPABILITY_VERSION_3, 0};
    __user_cap_data_struct data[2]{};
    data[0].effective = data[0].permitted = 1u << CAP_NET_ADMIN;
    if (syscall(SYS_capset, &header, data) != 0) _exit(3);
    if (!offload->start({})) _exit(1);
    if (!offload->apply({}, {&forward.entry, 1})) _exit(1);
    const Connection made = connection(forward);
    if (made.reached != Connection::guest || offload->counts()->size() != 1) _exit(1);
    offload->cut({&forward.entry.key, 1});
    if (next_read(made.client) != "error") _exit(1);
    offload.reset();
    _exit(0);
  }
  int status = -1;
  waitpid(process, &status, 0);
  EXPECT_EQ(status, 0);
}

TEST_F(NftablesKernelTest, WithoutThePrivilegeItSaysSo) {
  const pid_t process = fork();
  if (process == 0) {
    if (setresuid(65534, 65534, 65534) != 0) _exit(3);
    const auto started = offload->start({});
    _exit(started || started.error().message.find("CAP_NET_ADMIN") == std::string::npos ? 1 : 0);
  }
  int status = -1;
  waitpid(process, &status, 0);
  EXPECT_EQ(status, 0);
}

TEST_F(NftablesKernelTest, WorksWithoutIPv6) {
  write_sysctl("ipv6/conf/all/disable_ipv6", 1);
  start();
  const Forward forward = make_forward(place, "a/web");
  add(forward);
  EXPECT_EQ(connection(forward).reached, Connection::guest);
  write_sysctl("ipv6/conf/all/disable_ipv6", 0);
}

}  // namespace
}  // namespace vf::test
