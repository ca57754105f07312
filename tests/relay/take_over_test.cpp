// SPDX-License-Identifier: LGPL-2.1-or-later
//
// A relay takes over from another under load: nobody is refused and nothing breaks.

#include <fcntl.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <chrono>
#include <cstdlib>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "control_client.h"
#include "loopback.h"

namespace vf {
namespace {

using namespace test;

constexpr int forwards = 4;

// What answers: it sends back what it gets, on as many connections as come.
class Echo {
 public:
  Echo() {
    thread_ = std::thread([this] {
      while (true) {
        Fd accepted(accept4(listening_.get(), nullptr, nullptr, SOCK_CLOEXEC));
        if (!accepted) return;
        std::thread([fd = std::move(accepted)] {
          char bytes[65536];
          for (ssize_t count; (count = recv(fd.get(), bytes, sizeof bytes, 0)) > 0;)
            if (!send_all(fd, {bytes, static_cast<std::size_t>(count)})) return;
        }).detach();
      }
    });
  }
  ~Echo() {
    shutdown(listening_.get(), SHUT_RDWR);
    thread_.join();
  }
  Endpoint endpoint() const { return local_endpoint(listening_.get()); }

 private:
  static Fd listen() {
    Fd fd = listening_socket(1024);
    const timeval forever{};
    setsockopt(fd.get(), SOL_SOCKET, SO_RCVTIMEO, &forever, sizeof forever);
    return fd;
  }
  const Fd listening_ = listen();
  std::thread thread_;
};

class TakeOver : public testing::Test {
 protected:
  TakeOver() {
    char name[] = "/tmp/take-over-test.XXXXXX";
    directory_ = mkdtemp(name);
    path_ = directory_ + "/relay.sock";
    prctl(PR_SET_CHILD_SUBREAPER, 1);  // relays in the background become ours
    Fd control(socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0));
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    path_.copy(address.sun_path, sizeof address.sun_path - 1);
    EXPECT_EQ(bind(control.get(), reinterpret_cast<sockaddr*>(&address), sizeof address), 0);
    EXPECT_EQ(listen(control.get(), 16), 0);
    const int high = fcntl(control.get(), F_DUPFD_CLOEXEC, 100);
    pid_ = fork();
    if (pid_ == 0) {
      dup2(high, 3);
      execl(VF_RELAY_PROGRAM_PATH, "virt-forward-relay", "--control-fd=3", "--threads=2", nullptr);
      _exit(127);
    }
    close(high);
  }
  ~TakeOver() override {
    if (pid_ > 0) {
      kill(pid_, SIGTERM);
      waitpid(pid_, nullptr, 0);
    }
    unlink(path_.c_str());
    rmdir(directory_.c_str());
  }

  // As a daemon does: greets and hands listeners over, keeping duplicates of none.
  void add_forwards(Control& daemon) {
    for (int i = 0; i < forwards; ++i) {
      RelayAdd add{{"d/" + std::to_string(i), {{echo_.endpoint()}}, 0}, {}};
      add.listeners.push_back(listening_socket(1024));
      hosts_.push_back(local_endpoint(add.listeners[0].get()));
      daemon.send_with_fds(std::move(add));
    }
    daemon.send(RelayCommit{1});
    EXPECT_TRUE(daemon.receives<RelayCommitted>());
  }

  // The exit status of `virt-forward-relay --take-over`.
  int take_over() {
    const pid_t pid = fork();
    if (pid == 0) {
      execl(VF_RELAY_PROGRAM_PATH, "virt-forward-relay", "--take-over",
            ("--control=" + path_).c_str(), "--threads=2", nullptr);
      _exit(127);
    }
    int status = 0;
    waitpid(pid, &status, 0);
    return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
  }

  // Who serves the control socket now; what it holds.
  pid_t serving(std::vector<RelayForward>* held = nullptr) {
    Control control(path_);
    control.send(RelayHello{});
    const auto hello = control.receive();
    if (hello.size() != 1 || !std::holds_alternative<RelayHello>(hello[0])) return -1;
    if (held) {
      control.send(RelayStatistics{1});
      for (bool ended = false; !ended;)
        for (const auto& message : control.receive()) {
          if (const auto* one = std::get_if<RelayCounters>(&message))
            held->push_back({one->key, {}, 0});
          ended = ended || std::holds_alternative<RelayStatisticsEnd>(message);
        }
    }
    return static_cast<pid_t>(std::get<RelayHello>(hello[0]).pid);
  }

  bool ended(pid_t pid, int milliseconds) {
    for (int i = 0; i < milliseconds / 10; ++i) {
      int status = 0;
      if (waitpid(pid, &status, WNOHANG) == pid)
        return WIFEXITED(status) && WEXITSTATUS(status) == 0;
      std::this_thread::sleep_for(std::chrono::milliseconds(10));
    }
    return false;
  }

  Echo echo_;
  std::string directory_;
  std::string path_;
  std::vector<Endpoint> hosts_;
  pid_t pid_ = 0;
};

TEST_F(TakeOver, UnderLoadTwiceInARow) {
  Control daemon(path_);
  ASSERT_TRUE(daemon.greet());
  add_forwards(daemon);

  std::atomic<bool> stop = false;
  std::atomic<int> made = 0;
  std::atomic<int> failed = 0;
  std::vector<std::thread> load;
  for (int i = 0; i < forwards; ++i)
    load.emplace_back([&, i] {  // many short ones
      while (!stop) {
        const Fd client = connected_socket(hosts_[static_cast<std::size_t>(i)]);
        const bool good = client && send_all(client, "ping") && receive(client, 4) == "ping";
        ++(good ? made : failed);
      }
    });
  std::atomic<int> broken = 0;
  std::atomic<std::uint64_t> carried = 0;
  for (int i = 0; i < forwards; ++i)
    load.emplace_back([&, i] {  // one that lasts, always busy
      const Fd client = connected_socket(hosts_[static_cast<std::size_t>(i)]);
      for (std::string bytes(50'000, static_cast<char>('a' + i)); !stop;) {
        if (!send_all(client, bytes) || receive(client, bytes.size()) != bytes) {
          ++broken;
          return;
        }
        carried += bytes.size();
      }
    });
  const auto more = [&](int connections) {
    for (const int before = made; made < before + connections && failed == 0 && broken == 0;)
      std::this_thread::sleep_for(std::chrono::milliseconds(2));
  };
  more(500);

  std::vector<pid_t> before;
  for (int i = 0; i < 2; ++i) {
    const pid_t old = pid_;
    ASSERT_EQ(take_over(), 0);
    std::vector<RelayForward> held;
    pid_ = serving(&held);
    EXPECT_GT(pid_, 0);
    EXPECT_NE(pid_, old);
    EXPECT_EQ(held.size(), static_cast<std::size_t>(forwards));
    before.push_back(old);
    more(500);
  }
  EXPECT_TRUE(daemon.dropped());
  // What lasts is still with the first.
  EXPECT_EQ(waitpid(before[0], nullptr, WNOHANG), 0);
  stop = true;
  for (std::thread& one : load)
    one.join();
  EXPECT_EQ(failed, 0) << "of " << made;
  EXPECT_EQ(broken, 0);
  EXPECT_GT(carried, 1'000'000u);
  for (const pid_t old : before)
    EXPECT_TRUE(ended(old, 5'000)) << "a relay that has drained ends";
}

TEST_F(TakeOver, RemovalInMidTransferCutsOrDrains) {
  Control daemon(path_);
  ASSERT_TRUE(daemon.greet());
  add_forwards(daemon);
  std::vector<Fd> clients;
  for (const Endpoint& host : hosts_) {
    clients.push_back(connected_socket(host));
    ASSERT_TRUE(send_all(clients.back(), std::string(300'000, 'x')));
    ASSERT_EQ(receive(clients.back(), 1'000).size(), 1'000u);
  }
  daemon.send(RelayRemove{"d/0", RelayRemoval::cut});
  daemon.send(RelayRemove{"d/1", RelayRemoval::drain});
  daemon.send(RelayCommit{2});
  while (!daemon.receives<RelayCommitted>())  // behind what it tells of first connections
    ASSERT_EQ(errno, 0);
  // Neither listens; the first is reset, the second goes on and so do its neighbours.
  for (const std::size_t gone : {0u, 1u})
    EXPECT_FALSE(connected_socket(hosts_[gone]));
  receive(clients[0], 299'000);
  EXPECT_FALSE(send_all(clients[0], "x") && send_all(clients[0], "y"));
  for (const std::size_t lives : {1u, 2u, 3u}) {
    EXPECT_EQ(receive(clients[lives], 299'000).size(), 299'000u);
    EXPECT_TRUE(send_all(clients[lives], "ping"));
    EXPECT_EQ(receive(clients[lives], 4), "ping");
    shutdown(clients[lives].get(), SHUT_WR);
  }
}

TEST_F(TakeOver, ASuccessorThatFailsChangesNothing) {
  Control daemon(path_);
  ASSERT_TRUE(daemon.greet());
  add_forwards(daemon);
  {
    Control successor(path_);
    successor.send(RelayHello{relay_protocol_version, relay_hello_successor, 1});
    ASSERT_TRUE(successor.receives<RelayHello>());
    successor.send(RelayTakeOver{});
    EXPECT_TRUE(daemon.dropped());
  }
  EXPECT_EQ(serving(), pid_);
  const Fd client = connected_socket(hosts_[0]);
  EXPECT_TRUE(send_all(client, "ping"));
  EXPECT_EQ(receive(client, 4), "ping");
}

TEST_F(TakeOver, ADaemonMayNotAskForIt) {
  Control daemon(path_);
  ASSERT_TRUE(daemon.greet());
  daemon.send(RelayTakeOver{});
  EXPECT_TRUE(daemon.dropped());
  Control other(path_);
  ASSERT_TRUE(other.greet());
  other.send(RelayRetire{});
  EXPECT_TRUE(other.dropped());
  EXPECT_EQ(serving(), pid_);
}

TEST_F(TakeOver, TellsTheServiceManagerWhoIsTheServiceNow) {
  const std::string path = directory_ + "/notify";
  const Fd manager(socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0));
  set_deadline(manager.get());
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  path.copy(address.sun_path, sizeof address.sun_path - 1);
  ASSERT_EQ(bind(manager.get(), reinterpret_cast<sockaddr*>(&address), sizeof address), 0);
  ASSERT_EQ(serving(), pid_);
  const pid_t old = pid_;
  setenv("NOTIFY_SOCKET", path.c_str(), 1);
  ASSERT_EQ(take_over(), 0);
  unsetenv("NOTIFY_SOCKET");
  pid_ = serving();
  char text[200] = "";
  EXPECT_GT(recv(manager.get(), text, sizeof text - 1, 0), 0);
  EXPECT_EQ(std::string(text), "MAINPID=" + std::to_string(pid_) + "\nREADY=1");
  EXPECT_TRUE(ended(old, 5'000));
  unlink(path.c_str());
}

TEST_F(TakeOver, WhereNoRelayRunsItIsAnError) {
  unlink(path_.c_str());
  EXPECT_EQ(take_over(), 1);
}

}  // namespace
}  // namespace vf
