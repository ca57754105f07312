// SPDX-License-Identifier: LGPL-2.1-or-later
//
// Memory, descriptors and processor time, where somebody does not read, nobody speaks, or many
// come.

#include <fcntl.h>
#include <gtest/gtest.h>
#include <poll.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/wait.h>

#include <algorithm>
#include <chrono>
#include <cstdlib>
#include <string>
#include <thread>
#include <vector>

#include "loopback.h"
#include "relay_program.h"
#include "transfer.h"

namespace vf {
namespace {

// KiB that a relay may grow by for one connection. AddressSanitizer keeps what was freed, and a
// shadow.
#if defined(__SANITIZE_ADDRESS__)
constexpr long memory_bound = 20'000;
#else
constexpr long memory_bound = 2'000;
#endif

using namespace test;

void pause_for(std::chrono::milliseconds time) {
  std::this_thread::sleep_for(time);
}

bool ping(const Fd& client, const Fd& server) {
  return send_all(client, "ping") && receive(server, 4) == "ping" && send_all(server, "pong") &&
         receive(client, 4) == "pong";
}

// Bytes of the stream, until nothing has been taken for a moment.
std::uint64_t send_until_stopped(const Fd& fd, std::uint64_t most) {
  std::uint64_t sent = 0;
  while (sent < most) {
    pollfd watched{fd.get(), POLLOUT, 0};
    if (poll(&watched, 1, 300) <= 0) break;
    const auto bytes = stream(0, sent, std::min<std::uint64_t>(most - sent, 256 << 10));
    const ssize_t count = send(fd.get(), bytes.data(), bytes.size(), MSG_DONTWAIT | MSG_NOSIGNAL);
    if (count > 0) sent += static_cast<std::uint64_t>(count);
  }
  return sent;
}

bool receive_stream(const Fd& fd, std::uint64_t from, std::uint64_t to) {
  while (from < to) {
    const std::string bytes = receive(fd, std::min<std::uint64_t>(to - from, 256 << 10));
    if (bytes.empty() || bytes != stream(0, from, bytes.size())) return false;
    from += bytes.size();
  }
  return true;
}

TEST(Load, AReaderThatDoesNotReadStopsItsSender) {
  constexpr std::uint64_t all = 1 << 30;
  const Fd target = listening_socket();
  RelayProgram relay({local_endpoint(target.get())});
  const Fd client = connected_socket(relay.host());
  const Fd server = accepted_socket(target);
  ASSERT_TRUE(ping(client, server));
  const long before = relay.memory();

  std::uint64_t sent = send_until_stopped(client, all);
  EXPECT_LT(sent, 64u << 20) << "what kernels hold, and not much of the relay's";
  EXPECT_LT(relay.memory() - before, memory_bound);
  const long busy = relay.ticks();
  pause_for(std::chrono::seconds(1));
  EXPECT_LE(relay.ticks() - busy, 1) << "waiting costs nothing";

  // The rest, with a reader that stops for a while again and again.
  std::thread sender([&] {
    while (sent < all) {
      const auto bytes = stream(0, sent, std::min<std::uint64_t>(all - sent, 1 << 20));
      if (!send_all(client, bytes)) return;
      sent += bytes.size();
    }
    shutdown(client.get(), SHUT_WR);
  });
  long most = 0;
  for (std::uint64_t at = 0; at < all; at += 64 << 20) {
    ASSERT_TRUE(receive_stream(server, at, at + (64 << 20))) << "at " << at;
    most = std::max(most, relay.memory());
    pause_for(std::chrono::milliseconds(20));
  }
  EXPECT_EQ(ending(server), 0);
  sender.join();
  EXPECT_LT(most - before, memory_bound);
  relay.stop();
}

TEST(Load, APeerThatIsStoppedHoldsUpNobodyElse) {
  const Fd stopped_target = listening_socket();
  const Fd other_target = listening_socket();
  RelayProgram relay({local_endpoint(stopped_target.get()), local_endpoint(other_target.get())});
  const pid_t peer = fork();
  if (peer == 0) {  // sends back what it gets
    const Fd accepted = accepted_socket(stopped_target);
    const timeval forever{};  // or being stopped interrupts
    setsockopt(accepted.get(), SOL_SOCKET, SO_RCVTIMEO, &forever, sizeof forever);
    setsockopt(accepted.get(), SOL_SOCKET, SO_SNDTIMEO, &forever, sizeof forever);
    for (std::string bytes; !(bytes = receive(accepted, 10'000)).empty();)
      if (!send_all(accepted, bytes)) break;
    _exit(0);
  }
  const Fd client = connected_socket(relay.host(0));
  ASSERT_TRUE(send_all(client, std::string(10'000, 'x')));
  ASSERT_EQ(receive(client, 10'000).size(), 10'000u);
  kill(peer, SIGSTOP);
  const std::uint64_t sent = send_until_stopped(client, 1 << 30) / 10'000 * 10'000;
  EXPECT_LT(sent, 64u << 20);
  for (int i = 0; i < 100; ++i) {
    const Fd other = connected_socket(relay.host(1));
    EXPECT_TRUE(ping(other, accepted_socket(other_target)));
  }
  const long busy = relay.ticks();
  pause_for(std::chrono::seconds(1));
  EXPECT_LE(relay.ticks() - busy, 1);
  kill(peer, SIGCONT);
  EXPECT_TRUE(receive_stream(client, 0, sent));
  kill(peer, SIGKILL);
  waitpid(peer, nullptr, 0);
}

TEST(Load, IdleConnectionsCostAKilobyteAndNoTime) {
  constexpr std::size_t count = 9'500;
  const Fd target = listening_socket(4096);
  RelayProgram relay({local_endpoint(target.get())});
  std::vector<Fd> clients;
  std::vector<Fd> servers;
  const auto add = [&] {
    clients.push_back(connected_socket(relay.host()));
    servers.push_back(accepted_socket(target));
    return ping(clients.back(), servers.back());
  };
  for (int i = 0; i < 100; ++i)
    ASSERT_TRUE(add());
  const long before = relay.memory();
  while (clients.size() < count)
    ASSERT_TRUE(add()) << clients.size();
  const double each = static_cast<double>(relay.memory() - before) * 1024 / (count - 100);
  RecordProperty("bytes-per-idle-connection", static_cast<int>(each));
  EXPECT_LE(each, sanitized ? 4096 : 1024);

  const long busy = relay.ticks();
  pause_for(std::chrono::seconds(2));
  EXPECT_LE(relay.ticks() - busy, 1);
  for (std::size_t i = 0; i < count; i += 500)
    EXPECT_TRUE(ping(clients[i], servers[i])) << i;
  clients.clear();
  for (const Fd& server : servers)
    EXPECT_EQ(ending(server), 0);
}

// VF_SHORT_CONNECTIONS: how many; contrib/check --soak has 100,000.
TEST(Load, ShortConnectionsLeaveNothing) {
  const char* const many = std::getenv("VF_SHORT_CONNECTIONS");
  const int count = many ? std::atoi(many) : 5'000;
  const Fd target = listening_socket(1024);
  RelayProgram relay({local_endpoint(target.get())});
  int made = 0;
  // By turns an end in order from either side and a reset from either side; some carry much.
  const auto one = [&] {
    Fd client = connected_socket(relay.host());
    Fd server = accepted_socket(target);
    const int kind = made++ % 8;
    if (kind == 7) {
      const std::string much(300'000, 'x');
      std::thread sender([&] { EXPECT_TRUE(send_all(client, much)); });
      EXPECT_EQ(receive(server, much.size()).size(), much.size());
      sender.join();
    }
    if (!ping(client, server)) return false;
    Fd& first = kind % 2 ? client : server;
    Fd& second = kind % 2 ? server : client;
    if (kind >= 4)
      reset(std::move(first));
    else
      first.reset();
    return ending(second) == (kind >= 4 ? ECONNRESET : 0);
  };
  while (made < std::min(1'000, count / 2))
    ASSERT_TRUE(one()) << made;
  const auto descriptors = relay.descriptors();
  const long memory = relay.memory();
  while (made < count)
    ASSERT_TRUE(one()) << made;
  for (int i = 0; i < 200 && relay.descriptors() > descriptors; ++i)
    pause_for(std::chrono::milliseconds(10));  // the last one is still ending
  EXPECT_LE(relay.descriptors(), descriptors);
  // A sanitizer keeps what was freed for a while.
  EXPECT_LE(relay.memory() - memory, sanitized ? 300'000 : 200);
  relay.stop();
}

TEST(Load, WithoutDescriptorsItWaitsAndGoesOn) {
  constexpr int count = 200;
  const Fd target = listening_socket(count);
  RelayProgram relay({local_endpoint(target.get())}, [] {
    const rlimit few{100, 100};
    setrlimit(RLIMIT_NOFILE, &few);
  });
  std::vector<Fd> clients;
  for (int i = 0; i < count; ++i) {
    clients.push_back(connected_socket(relay.host()));
    ASSERT_TRUE(clients.back() && send_all(clients.back(), "ping"));
  }
  pause_for(std::chrono::milliseconds(200));
  const long busy = relay.ticks();
  pause_for(std::chrono::seconds(1));
  EXPECT_LE(relay.ticks() - busy, 3) << "it tries again now and then";
  // Those that are served end one by one and make room for the others.
  int served = 0;
  for (; served < count; ++served) {
    pollfd waiting{target.get(), POLLIN, 0};
    if (poll(&waiting, 1, 5'000) <= 0) break;
    Fd server = accepted_socket(target);
    EXPECT_EQ(receive(server, 4), "ping");
    reset(std::move(server));
  }
  EXPECT_EQ(served, count);
  relay.stop();
}

}  // namespace
}  // namespace vf
