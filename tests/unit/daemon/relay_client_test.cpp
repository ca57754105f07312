// SPDX-License-Identifier: LGPL-2.1-or-later
//
// The daemon's end against the real relay program.

#include "daemon/relay_client.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <map>
#include <numeric>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "../relay/loopback.h"
#include "base/address.h"

namespace vf {
namespace {

using namespace test;

std::uint64_t cookie_of(int fd) {
  std::uint64_t cookie = 0;
  socklen_t length = sizeof cookie;
  EXPECT_EQ(getsockopt(fd, SOL_SOCKET, SO_COOKIE, &cookie, &length), 0);
  return cookie;
}

struct Recorder : RelayClient::Observer {
  int ready = 0;
  int lost = 0;
  std::string reason;
  std::vector<HeldForward> held;
  std::vector<std::string> proven;
  std::vector<std::pair<std::string, int>> failing;

  std::map<std::string, Fd> kept;
  void relay_kept(std::map<std::string, Fd> now_kept) override { kept = std::move(now_kept); }
  void relay_ready(std::vector<HeldForward> now_held) override {
    ++ready;
    held = std::move(now_held);
  }
  void relay_lost(const std::string& why) override {
    ++lost;
    reason = why;
  }
  void forward_proven(const std::string& key, std::size_t) override { proven.push_back(key); }
  void forward_failing(const std::string& key, int error_number) override {
    failing.emplace_back(key, error_number);
  }
  void guest_up(const RelayGuestUp&) override {}
  void guest_down(const RelayGuestDown&) override {}
  void guest_listener(const RelayGuestListener&) override {}
  void guest_gone(const RelayGuestGone&) override {}
  void guest_synced(const RelayGuestSynced&) override {}
  void agent_answer(const RelayAgentAnswer&) override {}
};

class RelayClientTest : public testing::Test {
 protected:
  RelayClientTest() {
    char name[] = "/tmp/relay-client-test.XXXXXX";
    directory_ = mkdtemp(name);
    socket_path_ = directory_ + "/relay.sock";
  }
  ~RelayClientTest() override {
    client_.reset();
    // Each test's own relay, by its id.
    if (const pid_t pid = relay_pid()) kill(pid, SIGKILL);
    std::filesystem::remove_all(directory_);
  }

  RelayClient& start() {
    client_ = std::make_unique<RelayClient>(
        RelayClient::Options{socket_path_, VF_RELAY_PROGRAM_PATH, ""}, recorder_);
    const int before = recorder_.ready;
    client_->start();
    EXPECT_TRUE(run_until([&] { return recorder_.ready > before; })) << recorder_.reason;
    return *client_;
  }

  bool commit() {
    bool done = false;
    client_->commit([&] { done = true; });
    return run_until([&] { return done; });
  }

  // Of the relay that answers at the socket, by its hello.
  pid_t relay_pid() const {
    Fd fd(socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0));
    set_deadline(fd.get());
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    socket_path_.copy(address.sun_path, sizeof address.sun_path - 1);
    if (connect(fd.get(), reinterpret_cast<sockaddr*>(&address), sizeof address) < 0) return 0;
    std::uint8_t bytes[256];
    const ssize_t length = recv(fd.get(), bytes, sizeof bytes, 0);
    if (length <= 0) return 0;
    auto messages = decode_relay_packet({bytes, static_cast<std::size_t>(length)}, {});
    if (!messages || messages->empty()) return 0;
    const auto* hello = std::get_if<RelayHello>(&messages->front());
    return hello ? static_cast<pid_t>(hello->pid) : 0;
  }

  static RelayForward forward(std::string key, const Fd& target) {
    return {std::move(key), {{local_endpoint(target.get())}}, 0};
  }

  // What a client sees: one round trip through the forward.
  static bool echoes(const Endpoint& host, const Fd& target) {
    const Fd client = connected_socket(host);
    if (!client || !send_all(client, "ping")) return false;
    const Fd guest = accepted_socket(target);
    return receive(guest, 4) == "ping" && send_all(guest, "pong") && receive(client, 4) == "pong";
  }

  std::string directory_;
  std::string socket_path_;
  Recorder recorder_;
  std::unique_ptr<RelayClient> client_;
};

TEST_F(RelayClientTest, WhatIsKeptIsThereForTheNextDaemon) {
  RelayClient& client = start();
  EXPECT_TRUE(recorder_.kept.empty());
  const Fd first = listening_socket();
  const Fd second = listening_socket();
  client.keep("a", first.get());
  client.keep("a", second.get());
  client.keep("b", first.get());
  start();
  ASSERT_EQ(recorder_.kept.size(), 2u);
  EXPECT_EQ(cookie_of(recorder_.kept.at("a").get()), cookie_of(second.get()));
  EXPECT_EQ(cookie_of(recorder_.kept.at("b").get()), cookie_of(first.get()));
}

TEST_F(RelayClientTest, WhatIsKeptIsHandedOverToANewerRelay) {
  RelayClient& client = start();
  const Fd something = listening_socket();
  client.keep("a", something.get());
  bool answered = false;
  client.statistics([&](const auto&) { answered = true; });
  ASSERT_TRUE(run_until([&] { return answered; }));
  const pid_t successor = fork();
  if (successor == 0) {
    execl(VF_RELAY_PROGRAM_PATH, "virt-forward-relay", "--take-over",
          ("--control=" + socket_path_).c_str(), nullptr);
    _exit(127);
  }
  int status = -1;
  waitpid(successor, &status, 0);
  ASSERT_EQ(status, 0);
  ASSERT_TRUE(run_until([&] { return recorder_.ready == 2; }));
  ASSERT_EQ(recorder_.kept.size(), 1u);
  EXPECT_EQ(cookie_of(recorder_.kept.at("a").get()), cookie_of(something.get()));
}

TEST_F(RelayClientTest, StartsARelayAndServesAForward) {
  RelayClient& client = start();
  EXPECT_TRUE(recorder_.held.empty());
  struct stat status {};
  ASSERT_EQ(stat(socket_path_.c_str(), &status), 0);
  EXPECT_EQ(status.st_mode & 0777, 0600u);

  const Fd listener = listening_socket();
  const Fd target = listening_socket();
  client.add(forward("a", target), {listener.get()});
  ASSERT_TRUE(commit());
  EXPECT_TRUE(echoes(local_endpoint(listener.get()), target));
  EXPECT_TRUE(run_until([&] { return recorder_.proven == std::vector<std::string>{"a"}; }));
}

TEST_F(RelayClientTest, ARelayIsInASessionOfItsOwnAndNotOurChild) {
  start();
  const pid_t pid = relay_pid();
  ASSERT_GT(pid, 0);
  EXPECT_NE(getsid(pid), getsid(0));
  std::ifstream stat_file("/proc/" + std::to_string(pid) + "/stat");
  std::string id, name, state, parent;
  stat_file >> id >> name >> state >> parent;
  EXPECT_NE(parent, std::to_string(getpid()));
}

TEST_F(RelayClientTest, ARestartedDaemonAdoptsWhatTheRelayHolds) {
  RelayClient& client = start();
  const Fd listener = listening_socket();
  const Fd target = listening_socket();
  client.add({"a", {{local_endpoint(target.get())}}, 7}, {listener.get()});
  ASSERT_TRUE(commit());
  const Fd before = connected_socket(local_endpoint(listener.get()));
  const Fd guest = accepted_socket(target);
  ASSERT_TRUE(run_until([&] { return !recorder_.proven.empty(); }));
  recorder_.proven.clear();

  client_.reset();
  start();
  ASSERT_EQ(recorder_.held.size(), 1u);
  const HeldForward& held = recorder_.held.front();
  EXPECT_EQ(held.forward, (RelayForward{"a", {{local_endpoint(target.get())}}, 7}));
  ASSERT_EQ(held.listeners.size(), 1u);
  EXPECT_EQ(cookie_of(held.listeners[0].get()), cookie_of(listener.get()));
  EXPECT_EQ(recorder_.proven, std::vector<std::string>{"a"});
  EXPECT_TRUE(send_all(before, "still"));
  EXPECT_EQ(receive(guest, 5), "still");
}

TEST_F(RelayClientTest, AKilledRelayIsReplacedAndNoConnectionIsRefused) {
  RelayClient& client = start();
  const Fd listener = listening_socket();
  const Fd target = listening_socket();
  client.add(forward("a", target), {listener.get()});
  ASSERT_TRUE(commit());

  kill(relay_pid(), SIGKILL);
  ASSERT_TRUE(run_until([&] { return recorder_.lost == 1; }));
  // Nobody accepts now: the listener is the daemon's alone.
  const Fd waiting = connected_socket(local_endpoint(listener.get()));
  ASSERT_TRUE(waiting);
  ASSERT_TRUE(send_all(waiting, "early"));
  ASSERT_TRUE(run_until([&] { return recorder_.ready == 2; }));
  EXPECT_TRUE(recorder_.held.empty());
  client.add(forward("a", target), {listener.get()});
  ASSERT_TRUE(commit());
  const Fd guest = accepted_socket(target);
  EXPECT_EQ(receive(guest, 5), "early");
}

TEST_F(RelayClientTest, ACommitOfALostRelayIsDoneWithTheNextOne) {
  RelayClient& client = start();
  const pid_t pid = relay_pid();
  kill(pid, SIGSTOP);
  const Fd listener = listening_socket();
  const Fd target = listening_socket();
  client.add(forward("a", target), {listener.get()});
  std::vector<int> order;
  client.commit([&] { order.push_back(1); });
  kill(pid, SIGKILL);
  ASSERT_TRUE(run_until([&] { return recorder_.ready == 2; }));
  EXPECT_TRUE(order.empty());
  client.add(forward("a", target), {listener.get()});
  client.commit([&] { order.push_back(2); });
  ASSERT_TRUE(run_until([&] { return order.size() == 2; }));
  EXPECT_EQ(order, (std::vector<int>{1, 2}));
}

TEST_F(RelayClientTest, NothingStagedIsDoneAtOnce) {
  RelayClient& client = start();
  bool done = false;
  client.commit([&] { done = true; });
  EXPECT_TRUE(done);
}

TEST_F(RelayClientTest, AThousandListenersInOneCommit) {
  RelayClient& client = start();
  std::vector<Fd> listeners;
  const Fd target = listening_socket();
  for (int i = 0; i < 500; ++i) {
    listeners.push_back(listening_socket());
    listeners.push_back(listening_socket());
    const std::size_t last = listeners.size();
    client.add(forward("forward " + std::to_string(i), target),
               {listeners[last - 2].get(), listeners[last - 1].get()});
  }
  ASSERT_TRUE(commit());
  for (const std::size_t i : {0u, 252u, 253u, 254u, 999u})
    EXPECT_TRUE(echoes(local_endpoint(listeners[i].get()), target)) << i;

  client_.reset();
  start();
  ASSERT_EQ(recorder_.held.size(), 500u);
  std::set<std::uint64_t> held_cookies, cookies;
  for (const HeldForward& held : recorder_.held)
    for (const Fd& fd : held.listeners)
      held_cookies.insert(cookie_of(fd.get()));
  for (const Fd& fd : listeners)
    cookies.insert(cookie_of(fd.get()));
  EXPECT_EQ(held_cookies, cookies);
}

TEST_F(RelayClientTest, WhatWasStagedWithoutACommitIsDropped) {
  RelayClient& client = start();
  std::vector<Fd> listeners;
  const Fd target = listening_socket();
  // Enough that whole packets are on their way before the end.
  for (int i = 0; i < 600; ++i) {
    listeners.push_back(listening_socket());
    client.add(forward(std::to_string(i), target), {listeners.back().get()});
  }
  client_.reset();
  start();
  EXPECT_TRUE(recorder_.held.empty());
  // Not even accepted from: closing the last duplicate refuses.
  const Endpoint host = local_endpoint(listeners.front().get());
  listeners.clear();
  EXPECT_FALSE(connected_socket(host));
}

TEST_F(RelayClientTest, ARemovalCutsOrDrains) {
  RelayClient& client = start();
  const Fd target = listening_socket();
  std::map<std::string, std::pair<Fd, Fd>> connections;
  std::map<std::string, Endpoint> hosts;
  for (const char* key : {"cut", "drain"}) {
    Fd listener = listening_socket();
    const Endpoint host = local_endpoint(listener.get());
    hosts.emplace(key, host);
    client.add(forward(key, target), {listener.get()});
    ASSERT_TRUE(commit());
    Fd near = connected_socket(host);
    connections.emplace(key, std::pair(std::move(near), accepted_socket(target)));
  }
  client.remove("cut", RelayClient::Removal::cut);
  client.remove("drain", RelayClient::Removal::drain);
  ASSERT_TRUE(commit());
  EXPECT_FALSE(connected_socket(hosts.at("cut")));
  EXPECT_FALSE(connected_socket(hosts.at("drain")));
  EXPECT_EQ(ending(connections["cut"].first), ECONNRESET);
  EXPECT_EQ(ending(connections["cut"].second), ECONNRESET);
  EXPECT_TRUE(send_all(connections["drain"].first, "on"));
  EXPECT_EQ(receive(connections["drain"].second, 2), "on");
}

TEST_F(RelayClientTest, AnUpdateMovesNewConnectionsOnly) {
  RelayClient& client = start();
  const Fd listener = listening_socket();
  const Endpoint host = local_endpoint(listener.get());
  const Fd first = listening_socket();
  const Fd second = listening_socket();
  client.add(forward("a", first), {listener.get()});
  ASSERT_TRUE(commit());
  const Fd old = connected_socket(host);
  const Fd old_guest = accepted_socket(first);
  client.update(forward("a", second));
  ASSERT_TRUE(commit());
  EXPECT_TRUE(echoes(host, second));
  EXPECT_TRUE(send_all(old, "old"));
  EXPECT_EQ(receive(old_guest, 3), "old");
}

TEST_F(RelayClientTest, ARefusingGuestIsReportedAndTheClientReset) {
  RelayClient& client = start();
  const Fd listener = listening_socket();
  Fd target = listening_socket();
  client.add(forward("a", target), {listener.get()});
  ASSERT_TRUE(commit());
  target.reset();
  const Fd refused = connected_socket(local_endpoint(listener.get()));
  EXPECT_EQ(ending(refused), ECONNRESET);
  ASSERT_TRUE(run_until([&] { return !recorder_.failing.empty(); }));
  EXPECT_EQ(recorder_.failing.front(), (std::pair<std::string, int>("a", ECONNREFUSED)));
}

TEST_F(RelayClientTest, CountsConnectionsAndBytes) {
  RelayClient& client = start();
  const Fd listener = listening_socket();
  const Fd target = listening_socket();
  client.add(forward("a", target), {listener.get()});
  ASSERT_TRUE(commit());
  const Fd near = connected_socket(local_endpoint(listener.get()));
  const Fd guest = accepted_socket(target);
  ASSERT_TRUE(send_all(near, "12345") && receive(guest, 5) == "12345");
  ASSERT_TRUE(send_all(guest, "123") && receive(near, 3) == "123");

  std::optional<RelayClient::Statistics> told;
  client.statistics([&](Result<RelayClient::Statistics> result) {
    ASSERT_TRUE(result);
    told = std::move(*result);
  });
  ASSERT_TRUE(run_until([&] { return told.has_value(); }));
  ASSERT_EQ(told->counters.size(), 1u);
  const auto& [key, counters] = told->counters.front();
  EXPECT_EQ(key, "a");
  EXPECT_EQ(counters.connections, 1u);
  EXPECT_EQ(counters.bytes_in, 5u);
  EXPECT_EQ(counters.bytes_out, 3u);
  EXPECT_EQ(counters.accepted, 1u);
  EXPECT_EQ(counters.failures, 0u);

  ASSERT_EQ(told->lanes.size(), 2u);
  EXPECT_FALSE(told->lanes[0].bulk);
  EXPECT_TRUE(told->lanes[1].bulk);
  const auto& rounds = told->lanes[0].rounds;
  EXPECT_GT(std::accumulate(rounds.begin(), rounds.end(), std::uint64_t{0}), 0u);
}

TEST_F(RelayClientTest, CountersWithoutARelayAreAnError) {
  RelayClient client({socket_path_, "", ""}, recorder_);
  bool failed = false;
  client.statistics([&](Result<RelayClient::Statistics> result) { failed = !result; });
  EXPECT_TRUE(failed);
}

TEST_F(RelayClientTest, ShutDownEndsTheRelay) {
  RelayClient& client = start();
  Fd listener = listening_socket();
  const Endpoint host = local_endpoint(listener.get());
  const Fd target = listening_socket();
  client.add(forward("a", target), {listener.get()});
  ASSERT_TRUE(commit());
  listener.reset();
  bool done = false;
  client.shut_down([&] { done = true; });
  ASSERT_TRUE(run_until([&] { return done; }));
  EXPECT_EQ(relay_pid(), 0);
  EXPECT_FALSE(connected_socket(host));
  EXPECT_EQ(recorder_.lost, 0);
}

TEST_F(RelayClientTest, AProgramThatCannotBeStartedIsAReason) {
  client_ = std::make_unique<RelayClient>(
      RelayClient::Options{socket_path_, directory_ + "/missing", ""}, recorder_);
  client_->start();
  ASSERT_TRUE(run_until([&] { return recorder_.lost == 1; }));
  EXPECT_EQ(recorder_.reason,
            "relay: cannot start " + directory_ + "/missing: No such file or directory");
}

TEST_F(RelayClientTest, AnotherProtocolVersionIsRefusedByName) {
  const Fd listening(socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0));
  set_deadline(listening.get());
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  socket_path_.copy(address.sun_path, sizeof address.sun_path - 1);
  ASSERT_EQ(bind(listening.get(), reinterpret_cast<sockaddr*>(&address), sizeof address), 0);
  ASSERT_EQ(listen(listening.get(), 4), 0);
  client_ = std::make_unique<RelayClient>(RelayClient::Options{socket_path_, "", ""}, recorder_);
  client_->start();
  g_main_context_iteration(nullptr, TRUE);
  const Fd peer = accepted_socket(listening);
  RelayPacket packet;
  RelayMessage hello = RelayHello{relay_protocol_version + 1, 0, 4711};
  ASSERT_TRUE(packet.append(hello));
  ASSERT_GT(send(peer.get(), packet.bytes.data(), packet.bytes.size(), 0), 0);
  ASSERT_TRUE(run_until([&] { return recorder_.lost == 1; }));
  EXPECT_EQ(recorder_.reason,
            "relay: the relay that runs (pid 4711) speaks protocol 5, this daemon 4: restart "
            "virt-forward-relay");
  EXPECT_EQ(recorder_.ready, 0);
}

TEST_F(RelayClientTest, AStaleSocketFileIsReplaced) {
  {
    const Fd stale(socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0));
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    socket_path_.copy(address.sun_path, sizeof address.sun_path - 1);
    ASSERT_EQ(bind(stale.get(), reinterpret_cast<sockaddr*>(&address), sizeof address), 0);
  }
  start();
  EXPECT_EQ(recorder_.lost, 0);
}

TEST_F(RelayClientTest, AKeyThatIsTooLongFailsAlone) {
  RelayClient& client = start();
  const Fd target = listening_socket();
  const Fd listener = listening_socket();
  client.add(forward(std::string(513, 'k'), target), {listener.get()});
  client.add(forward(std::string(512, 'k'), target), {listener.get()});
  ASSERT_TRUE(commit());
  ASSERT_TRUE(run_until([&] { return !recorder_.failing.empty(); }));
  EXPECT_EQ(recorder_.failing.front().second, E2BIG);
  EXPECT_TRUE(echoes(local_endpoint(listener.get()), target));
}

}  // namespace
}  // namespace vf
