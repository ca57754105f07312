// SPDX-License-Identifier: LGPL-2.1-or-later
//
// What is the redirection's alone: which sockets it leaves to the relay and how it is seen from
// outside.

#include "offload/redirect.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/resource.h>
#include <sys/socket.h>

#include <cerrno>
#include <cstring>
#include <fstream>
#include <thread>

#include "glib/source.h"
#include "place.h"
#include "redirect_links.h"

#ifndef IPPROTO_MPTCP
#define IPPROTO_MPTCP 262
#endif

namespace vf::test {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::Pair;

void set(const Fd& socket, int level, int option, int value) {
  ASSERT_EQ(setsockopt(socket.get(), level, option, &value, sizeof value), 0)
      << std::strerror(errno);
}

std::function<void(const Fd&)> option(int level, int name, int value) {
  return [=](const Fd& socket) { set(socket, level, name, value); };
}

std::function<void(const Fd&)> bound(const std::string& address) {
  return [=](const Fd& socket) {
    const SocketAddress at = SocketAddress::from(*IpAddress::parse(address), std::nullopt);
    ASSERT_EQ(bind(socket.get(), at.get(), at.length), 0);
  };
}

std::string text_of(int (*ask)(int, sockaddr*, socklen_t*), const Fd& socket) {
  SocketAddress found;
  found.length = sizeof found.storage;
  if (ask(socket.get(), found.get(), &found.length) < 0) return std::strerror(errno);
  return found.endpoint()->text();
}

std::string peer(const Fd& socket) {
  return text_of(getpeername, socket);
}
std::string own(const Fd& socket) {
  return text_of(getsockname, socket);
}

int pending_error(const Fd& socket) {
  int error = 0;
  socklen_t length = sizeof error;
  getsockopt(socket.get(), SOL_SOCKET, SO_ERROR, &error, &length);
  return error;
}

class RedirectTest : public ::testing::Test {
 protected:
  void SetUp() override {
    const auto started = offload.start(
        {[this](const KernelOffload::Loss& loss) { losses.push_back(loss); },
         [this](const std::string& key, int error) { told.emplace_back(key, error); }});
    ASSERT_TRUE(started) << started.error().message;
  }

  Forward add(const std::string& host, const std::string& guest, const std::string& key = "a/web") {
    Forward forward = make_forward(place, key, host, guest);
    add(forward);
    return forward;
  }
  void add(const Forward& forward) {
    const auto applied = offload.apply({}, {&forward.entry, 1});
    ASSERT_TRUE(applied) << applied.error().message;
  }
  std::uint64_t connections(const std::string& key) {
    const auto counted = offload.counts();
    EXPECT_TRUE(counted) << counted.error().message;
    const auto found = counted->find(key);
    return found == counted->end() ? 0 : found->second.connections;
  }
  void cut(const std::string& key) { offload.cut({&key, 1}); }

  Place place;
  RedirectOffload offload{std::chrono::milliseconds(100)};
  std::vector<KernelOffload::Loss> losses;
  std::vector<std::pair<std::string, int>> told;  // of connections that did not get through
};

TEST_F(RedirectTest, PeerOfTheSocketIsTheGuest) {
  const Forward forward = add("127.0.0.1", "10.9.0.2");
  const Connection made = connection(forward);
  ASSERT_EQ(made.reached, Connection::guest);
  EXPECT_THAT(own(made.client), HasSubstr("10.9.0.1:"));
  EXPECT_EQ(peer(made.server), own(made.client));
  EXPECT_EQ(peer(made.client), forward.entry.host.text());
}

TEST_F(RedirectTest, LeavesSocketsWithASourceAddress) {
  const Forward forward = add("127.0.0.1", "10.9.0.2");
  EXPECT_EQ(connection(forward, bound("127.0.0.1")).reached, Connection::relay);
  EXPECT_EQ(connection(forward, bound("10.9.0.1")).reached, Connection::relay);
  EXPECT_EQ(connection(forward, bound("0.0.0.0")).reached, Connection::guest);
  for (const char* guest : {"10.9.0.2", "fd00:9::2"}) {
    const Forward forward6 = add("::1", guest);
    EXPECT_EQ(connection(forward6, bound("::1")).reached, Connection::relay);
    EXPECT_EQ(connection(forward6, bound("::")).reached, Connection::guest);
  }
}

TEST_F(RedirectTest, LeavesSocketsWithADevice) {
  const auto to_lo = [](const Fd& socket) {
    ASSERT_EQ(setsockopt(socket.get(), SOL_SOCKET, SO_BINDTODEVICE, "lo", 2), 0);
  };
  EXPECT_EQ(connection(add("127.0.0.1", "10.9.0.2"), to_lo).reached, Connection::relay);
  EXPECT_EQ(connection(add("::1", "fd00:9::2"), to_lo).reached, Connection::relay);
}

TEST_F(RedirectTest, LeavesMarkedSockets) {
  const auto marked = option(SOL_SOCKET, SO_MARK, 7);
  EXPECT_EQ(connection(add("127.0.0.1", "10.9.0.2"), marked).reached, Connection::relay);
  EXPECT_EQ(connection(add("::1", "fd00:9::2"), marked).reached, Connection::relay);
}

TEST_F(RedirectTest, LeavesV6OnlySocketsThatCannotReachAnIpv4Guest) {
  const auto v6only = option(IPPROTO_IPV6, IPV6_V6ONLY, 1);
  EXPECT_EQ(connection(add("::1", "10.9.0.2"), v6only).reached, Connection::relay);
  EXPECT_EQ(connection(add("::1", "fd00:9::2"), v6only).reached, Connection::guest);
}

TEST_F(RedirectTest, TakesV6ToV4AndToV6) {
  const auto dual = option(IPPROTO_IPV6, IPV6_V6ONLY, 0);
  for (const char* guest : {"10.9.0.2", "fd00:9::2"}) {
    const Forward forward = add("::1", guest);
    const Connection made = connection(forward, dual);
    EXPECT_EQ(made.reached, Connection::guest);
    EXPECT_TRUE(talks(made.client, made.server));
    EXPECT_EQ(peer(made.client), forward.entry.host.text());
  }
}

TEST_F(RedirectTest, TakesMappedAddresses) {
  const Forward forward = add("127.0.0.1", "10.9.0.2");
  const Endpoint mapped = endpoint("::ffff:127.0.0.1", forward.entry.host.port.number());
  Client client = connect_to(mapped);
  ASSERT_EQ(client.error, 0);
  const Connection made = reached_by(std::move(client.socket), forward);
  EXPECT_EQ(made.reached, Connection::guest);
  EXPECT_EQ(peer(made.client), mapped.text());
  EXPECT_EQ(connections("a/web"), 1);
  cut("a/web");
  EXPECT_EQ(next_read(made.client), "error");
}

TEST_F(RedirectTest, ForwardOfTwoAddressesIsOne) {
  const Forward v4 = add("127.0.0.1", "10.9.0.2");
  const Forward v6 = add("::1", "10.9.0.2");
  const Connection one = connection(v4);
  const Connection other = connection(v6);
  EXPECT_EQ(one.reached, Connection::guest);
  EXPECT_EQ(other.reached, Connection::guest);
  EXPECT_EQ(connections("a/web"), 2);
  ASSERT_TRUE(offload.apply({&v4.entry, 1}, {}));
  EXPECT_EQ(connection(v4).reached, Connection::relay);
  EXPECT_EQ(connection(v6).reached, Connection::guest);
  cut("a/web");
  EXPECT_EQ(next_read(one.client), "error");
  EXPECT_EQ(next_read(other.client), "error");
}

TEST_F(RedirectTest, TakesNonBlockingConnects) {
  const Forward forward = add("127.0.0.1", "10.9.0.2");
  Fd client(socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
  const int error = connect_socket(client, forward.entry.host);
  EXPECT_TRUE(error == 0 || error == EINPROGRESS) << std::strerror(error);
  pollfd writable{client.get(), POLLOUT, 0};
  ASSERT_EQ(poll(&writable, 1, 5000), 1);
  EXPECT_EQ(pending_error(client), 0);
  EXPECT_EQ(reached_by(std::move(client), forward).reached, Connection::guest);
}

TEST_F(RedirectTest, TakesFastOpen) {
  const auto allow = [] { std::ofstream("/proc/sys/net/ipv4/tcp_fastopen") << "3"; };
  std::thread(allow).join();
  place.guest().run(allow);
  const Forward forward = add("127.0.0.1", "10.9.0.2");
  set(forward.guest, IPPROTO_TCP, TCP_FASTOPEN, 16);
  const SocketAddress to = SocketAddress::from(forward.entry.host.address, forward.entry.host.port);
  bool with_syn = false;
  for (int i = 0; i < 2; ++i) {  // the first brings the cookie for the second
    Fd client(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
    ASSERT_EQ(sendto(client.get(), "hello", 5, MSG_FASTOPEN, to.get(), to.length), 5);
    const Connection made = reached_by(std::move(client), forward);
    ASSERT_EQ(made.reached, Connection::guest);
    std::array<char, 5> text{};
    EXPECT_EQ(recv(made.server.get(), text.data(), text.size(), MSG_WAITALL), 5);
    EXPECT_TRUE(talks(made.client, made.server));
    tcp_info info{};
    socklen_t length = sizeof info;
    getsockopt(made.client.get(), IPPROTO_TCP, TCP_INFO, &info, &length);
    with_syn = info.tcpi_options & TCPI_OPT_SYN_DATA;
    EXPECT_EQ(connections("a/web"), 1);
  }
  EXPECT_TRUE(with_syn);
}

// The connection that carries it is an ordinary one of the kernel's own.
TEST_F(RedirectTest, TakesMultipath) {
  const Forward forward = add("127.0.0.1", "10.9.0.2");
  Fd client(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, IPPROTO_MPTCP));
  ASSERT_TRUE(client) << std::strerror(errno);
  ASSERT_EQ(connect_socket(client, forward.entry.host), 0);
  const Connection made = reached_by(std::move(client), forward);
  EXPECT_EQ(made.reached, Connection::guest);
  EXPECT_TRUE(talks(made.client, made.server));
  EXPECT_EQ(connections("a/web"), 1);
  cut("a/web");
  EXPECT_EQ(next_read(made.client), "error");
}

TEST_F(RedirectTest, LeavesUdp) {
  const Forward forward = add("127.0.0.1", "10.9.0.2");
  const SocketAddress at = SocketAddress::from(forward.entry.host.address, forward.entry.host.port);
  const Fd server(socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0));
  ASSERT_EQ(bind(server.get(), at.get(), at.length), 0);
  const Fd client(socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0));
  ASSERT_EQ(connect(client.get(), at.get(), at.length), 0);
  EXPECT_EQ(peer(client), forward.entry.host.text());
  EXPECT_THAT(own(client), HasSubstr("127.0.0.1:"));
  char byte = 'x';
  EXPECT_EQ(send(client.get(), &byte, 1, 0), 1);
  EXPECT_EQ(recv(server.get(), &byte, 1, MSG_DONTWAIT), 1);
}

TEST_F(RedirectTest, NextConnectOfASocketIsItsOwn) {
  Forward forward = add("127.0.0.1", "10.9.0.2");
  const Fd elsewhere = place.listening_in_guest("10.9.0.2");
  forward.guest.reset();
  const Client client = connect_to(forward.entry.host);
  ASSERT_EQ(client.error, ECONNREFUSED);
  ASSERT_EQ(connect_socket(client.socket, endpoint("10.9.0.2", port_of(elsewhere))), 0);
  const Fd server = accepted(elsewhere);
  EXPECT_EQ(connections("a/web"), 0);
  cut("a/web");
  EXPECT_TRUE(talks(client.socket, server));
  EXPECT_EQ(peer(client.socket), "10.9.0.2:" + std::to_string(port_of(elsewhere)));
}

TEST_F(RedirectTest, CutEndsConnectionsUnderWay) {
  // Nobody has this address, so that the kernel asks for it for seconds.
  Forward forward = make_forward(place, "a/web");
  forward.entry.guest = endpoint("10.9.0.99", 80);
  add(forward);
  const Fd client(socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
  ASSERT_EQ(connect_socket(client, forward.entry.host), EINPROGRESS);
  EXPECT_EQ(connections("a/web"), 0);
  cut("a/web");
  pollfd ended{client.get(), POLLIN, 0};
  ASSERT_EQ(poll(&ended, 1, 5000), 1);
  EXPECT_EQ(pending_error(client), ECONNABORTED);
}

TEST_F(RedirectTest, ForwardThatIsBackIsNotCutAgain) {
  const Forward forward = add("127.0.0.1", "10.9.0.2");
  ASSERT_TRUE(offload.apply({&forward.entry, 1}, {}));
  cut("a/web");
  add(forward);
  const Connection made = connection(forward);
  ASSERT_TRUE(offload.apply({&forward.entry, 1}, {}));
  bool second_look_over = false;
  const Source later = after(std::chrono::milliseconds(1100), [&] { second_look_over = true; });
  EXPECT_TRUE(run_until([&] { return second_look_over; }));
  EXPECT_TRUE(talks(made.client, made.server));
}

// A connect() that was begun, to a guest that does not answer.
Fd connecting(const Forward& forward) {
  Fd client(socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
  EXPECT_EQ(connect_socket(client, forward.entry.host), EINPROGRESS);
  return client;
}

TEST_F(RedirectTest, TellsWhatIsRefused) {
  for (const auto& [host, guest] : {std::pair("127.0.0.1", "10.9.0.2"),
                                    std::pair("::1", "10.9.0.2"), std::pair("::1", "fd00:9::2")}) {
    told.clear();
    Forward gone = add(host, guest, "a/gone");
    const Forward sibling = add(host, guest, "a/web");
    const Forward stranger = add(host, guest, "b/gone");
    gone.guest.reset();
    EXPECT_EQ(connection(sibling).reached, Connection::guest);
    EXPECT_EQ(connect_to(gone.entry.host).error, ECONNREFUSED);
    EXPECT_EQ(connection(stranger).reached, Connection::guest);
    ASSERT_TRUE(run_until([&] { return !told.empty(); }));
    EXPECT_THAT(told, ElementsAre(Pair("a/gone", ECONNREFUSED))) << host << " to " << guest;
  }
}

TEST_F(RedirectTest, TellsWhomNobodyWaitedFor) {
  Forward silent = make_forward(place, "a/web");
  silent.entry.guest = endpoint("10.9.0.99", 80);
  add(silent);
  connecting(silent).reset();
  ASSERT_TRUE(run_until([&] { return !told.empty(); }));
  EXPECT_THAT(told, ElementsAre(Pair("a/web", 0)));
}

// Each is told before the next is tried, so that what should not be told would be among them.
TEST_F(RedirectTest, TellsNeitherCutsNorWhatIsOver) {
  Forward silent = make_forward(place, "a/silent");
  silent.entry.guest = endpoint("10.9.0.99", 80);
  add(silent);
  Forward gone = add("127.0.0.1", "10.9.0.2", "a/gone");
  gone.guest.reset();
  Fd cut_off = connecting(silent);
  cut("a/silent");
  EXPECT_EQ(pending_error(cut_off), ECONNABORTED);
  Forward over = make_forward(place, "a/over");
  over.entry.guest = endpoint("10.9.0.99", 80);
  add(over);
  Fd outlives = connecting(over);
  ASSERT_TRUE(offload.apply({&over.entry, 1}, {}));
  outlives.reset();
  const Connection ended = connection(add("127.0.0.1", "10.9.0.3", "a/served"));
  cut("a/served");
  EXPECT_EQ(next_read(ended.client), "error");
  EXPECT_EQ(connect_to(gone.entry.host).error, ECONNREFUSED);
  ASSERT_TRUE(run_until([&] { return !told.empty(); }));
  EXPECT_THAT(told, ElementsAre(Pair("a/gone", ECONNREFUSED)));
}

TEST_F(RedirectTest, TellsOnceASecondAndOfAnEntryThatIsNewAtOnce) {
  Forward gone = add("127.0.0.1", "10.9.0.2");
  gone.guest.reset();
  const gint64 begin = g_get_monotonic_time();
  for (int i = 0; i < 500; ++i)
    ASSERT_EQ(connect_to(gone.entry.host).error, ECONNREFUSED);
  const gint64 seconds = (g_get_monotonic_time() - begin) / G_USEC_PER_SEC;
  ASSERT_TRUE(run_until([&] { return !told.empty(); }));
  EXPECT_LE(told.size(), static_cast<std::size_t>(seconds) + 1);
  told.clear();
  ASSERT_TRUE(offload.apply({&gone.entry, 1}, {}));
  add(gone);
  ASSERT_EQ(connect_to(gone.entry.host).error, ECONNREFUSED);
  ASSERT_TRUE(run_until([&] { return !told.empty(); }));
  EXPECT_THAT(told, ElementsAre(Pair("a/web", ECONNREFUSED)));
}

// A ring that is full loses words, and says them at the next connection.
TEST_F(RedirectTest, ManyAtOnceAreAllToldInTheEnd) {
  std::vector<Forward> many;
  for (int i = 0; i < 400; ++i) {
    many.push_back(make_forward(place, "a/" + std::to_string(i)));
    many.back().guest.reset();
    add(many.back());
  }
  int rounds = 0;
  while (!many.empty()) {
    ++rounds;
    for (const Forward& forward : many)
      ASSERT_EQ(connect_to(forward.entry.host).error, ECONNREFUSED);
    ASSERT_TRUE(run_until([&] { return !told.empty(); }));
    for (const auto& [key, error] : std::exchange(told, {}))
      std::erase_if(many, [&](const Forward& forward) { return forward.entry.key == key; });
  }
  EXPECT_GT(rounds, 1);
}

TEST_F(RedirectTest, SaysWhatItDoesNotAdmit) {
  const OffloadEntry good = make_forward(place, "a/web").entry;
  EXPECT_TRUE(offload.admits(good));
  const auto refusal = [&](const std::function<void(OffloadEntry&)>& change) {
    OffloadEntry entry = good;
    change(entry);
    const auto admitted = offload.admits(entry);
    return admitted ? std::string("admitted") : admitted.error().message;
  };
  const auto address = [](const char* text) { return *IpAddress::parse(text); };
  EXPECT_THAT(refusal([](auto& entry) { entry.protocol = Protocol::udp; }), HasSubstr("TCP only"));
  EXPECT_THAT(refusal([&](auto& entry) { entry.host.address = address("10.9.0.1"); }),
              HasSubstr("loopback addresses only"));
  EXPECT_THAT(refusal([&](auto& entry) { entry.host.address = address("0.0.0.0"); }),
              HasSubstr("loopback addresses only"));
  EXPECT_THAT(refusal([&](auto& entry) { entry.guest.address = address("fd00:9::2"); }),
              HasSubstr("IPv6"));
  EXPECT_THAT(refusal([&](auto& entry) { entry.guest.address = address("127.0.0.1"); }),
              HasSubstr("127.0.0.1"));
  EXPECT_THAT(refusal([&](auto& entry) {
                entry.host.address = address("::1");
                entry.guest.address = address("fe80::2");
              }),
              HasSubstr("fe80::2"));
}

TEST_F(RedirectTest, AddressOfAForwardIsNotGivenToAnother) {
  const Forward forward = add("127.0.0.1", "10.9.0.2");
  OffloadEntry other = forward.entry;
  other.key = "b/web";
  other.guest = endpoint("10.9.0.3", 80);
  const auto applied = offload.apply({}, {&other, 1});
  ASSERT_FALSE(applied);
  EXPECT_THAT(applied.error().message, HasSubstr(forward.entry.host.text()));
  ASSERT_TRUE(offload.apply({&other, 1}, {}));  // is not there
  EXPECT_EQ(connection(forward).reached, Connection::guest);
}

TEST_F(RedirectTest, EachProgramIsPutBack) {
  const Forward v4 = add("127.0.0.1", "10.9.0.2");
  const Forward v6 = add("::1", "fd00:9::2");
  for (const char* name : {"connect4", "connect6", "getpeername4", "getpeername6"}) {
    losses.clear();
    ASSERT_EQ(detach_own_links(name), 1);
    ASSERT_TRUE(run_until([&] { return !losses.empty(); })) << name;
    EXPECT_TRUE(losses[0].mended);
    EXPECT_THAT(losses[0].reason, HasSubstr(name));
    for (const Forward* forward : {&v4, &v6}) {
      const Connection made = connection(*forward);
      EXPECT_EQ(made.reached, Connection::guest);
      EXPECT_EQ(peer(made.client), forward->entry.host.text());
    }
  }
}

TEST_F(RedirectTest, SaysWhenItCannotBePutBack) {
  const Forward forward = add("127.0.0.1", "10.9.0.2");
  rlimit limit{};
  getrlimit(RLIMIT_NOFILE, &limit);
  ASSERT_EQ(detach_own_links(), 4);
  const rlimit none{3, limit.rlim_max};  // descriptors below are in use
  ASSERT_EQ(setrlimit(RLIMIT_NOFILE, &none), 0);
  EXPECT_TRUE(run_until([&] { return !losses.empty(); }));
  setrlimit(RLIMIT_NOFILE, &limit);
  ASSERT_EQ(losses.size(), 1);
  EXPECT_FALSE(losses[0].mended);
  EXPECT_THAT(losses[0].reason, HasSubstr("detached"));
  EXPECT_EQ(connection(forward).reached, Connection::relay);
  // Nothing of what was applied comes back by itself.
  const Forward other = add("127.0.0.1", "10.9.0.3", "a/ssh");
  EXPECT_EQ(connection(other).reached, Connection::guest);
  EXPECT_EQ(connection(forward).reached, Connection::relay);
  add(forward);
  EXPECT_EQ(connection(forward).reached, Connection::guest);
}

}  // namespace
}  // namespace vf::test
