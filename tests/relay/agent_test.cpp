// SPDX-License-Identifier: LGPL-2.1-or-later
//
// The relay program and the guest agent's, with the daemon's part played here. The agent's vsock
// socket is a unix socket.

#include <fcntl.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <cstdlib>
#include <deque>
#include <functional>
#include <memory>
#include <regex>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "control_client.h"
#include "loopback.h"
#include "transfer.h"
#include "wire/relay.h"

namespace vf {
namespace {

using namespace test;

const std::string guest = "7d3a0c9e-0000-4000-8000-000000000001";

pid_t start(const std::vector<std::string>& command, const std::function<void()>& prepare) {
  std::vector<char*> arguments;
  for (const std::string& one : command)
    arguments.push_back(const_cast<char*>(one.c_str()));
  arguments.push_back(nullptr);
  const pid_t pid = fork();
  if (pid == 0) {
    prepare();
    execv(arguments[0], arguments.data());
    _exit(127);
  }
  return pid;
}

Fd unix_socket(const std::string& path, int type, bool listens) {
  Fd fd(socket(AF_UNIX, type | SOCK_CLOEXEC, 0));
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  path.copy(address.sun_path, sizeof address.sun_path - 1);
  const auto* raw = reinterpret_cast<const sockaddr*>(&address);
  if (listens ? bind(fd.get(), raw, sizeof address) < 0 || listen(fd.get(), 16) < 0
              : connect(fd.get(), raw, sizeof address) < 0)
    fd.reset();
  return fd;
}

class AgentPrograms : public testing::Test {
 protected:
  AgentPrograms() {
    char name[] = "/tmp/relay-agent-test.XXXXXX";
    directory_ = mkdtemp(name);
    relay_path_ = directory_ + "/relay.sock";
    agent_path_ = directory_ + "/agent.sock";
    const Fd listening = unix_socket(relay_path_, SOCK_SEQPACKET, true);
    const int high = fcntl(listening.get(), F_DUPFD_CLOEXEC, 100);
    relay_ = start({VF_RELAY_PROGRAM_PATH, "--control-fd=3"}, [high] { dup2(high, 3); });
    close(high);
    start_agent();
  }
  ~AgentPrograms() override {
    control_.reset();
    end(agent_);
    kill(relay_, SIGTERM);
    int status = 0;
    waitpid(relay_, &status, 0);
    EXPECT_TRUE(WIFEXITED(status) && WEXITSTATUS(status) == 0) << "the relay";
    for (const std::string& path : {relay_path_, agent_path_, directory_ + "/agent.conf"})
      unlink(path.c_str());
    rmdir(directory_.c_str());
  }
  void start_agent() {
    const std::string config = directory_ + "/agent.conf";
    Fd(open(config.c_str(), O_CREAT | O_WRONLY | O_CLOEXEC, 0600));
    agent_ =
        start({VF_GUEST_PROGRAM_PATH, "--listen=unix:" + agent_path_, "--config=" + config}, [] {});
  }
  static void end(pid_t& pid) {
    if (pid <= 0) return;
    kill(pid, SIGKILL);
    waitpid(pid, nullptr, 0);
    pid = 0;
  }

  // The daemon's part: the agent's control stream goes to the relay.
  void open_guest() {
    RelayGuestOpen open{guest, UnixEndpoint{agent_path_}, false, {}};
    Fd stream;
    for (int tries = 0; !stream && tries < 1000; ++tries) {
      stream = unix_socket(agent_path_, SOCK_STREAM, false);
      if (!stream) std::this_thread::sleep_for(std::chrono::milliseconds(10));
    }
    ASSERT_TRUE(stream);
    open.control.push_back(std::move(stream));
    control().send_with_fds(std::move(open));
  }
  Control& control() {
    if (!control_) {
      control_ = std::make_unique<Control>(relay_path_);
      EXPECT_TRUE(control_->greet());
    }
    return *control_;
  }
  // True when such a message comes within the deadline; others before it are skipped.
  template <typename T>
  bool hears(const std::function<bool(const T&)>& right = [](const T&) { return true; }) {
    for (;;) {
      for (; !heard_.empty(); heard_.pop_front())
        if (const T* typed = std::get_if<T>(&heard_.front()))
          if (right(*typed)) {
            heard_.pop_front();
            return true;
          }
      for (RelayMessage& message : control().receive())
        heard_.push_back(std::move(message));
      if (heard_.empty()) return false;
    }
  }
  // A forward by the agent to a port in the guest, which is this host.
  Endpoint forward(const Endpoint& target) {
    RelayAdd add{{guest + "/t", {{AgentEndpoint{{}, target.port, {}}}}}, {}};
    add.listeners.push_back(listening_socket());
    const Endpoint host = local_endpoint(add.listeners[0].get());
    control().send_with_fds(std::move(add));
    control().send(RelayCommit{1});
    EXPECT_TRUE(hears<RelayCommitted>());
    return host;
  }

  std::string directory_;
  std::string relay_path_;
  std::string agent_path_;
  pid_t relay_ = 0;
  pid_t agent_ = 0;
  std::unique_ptr<Control> control_;
  std::deque<RelayMessage> heard_;
};

TEST_F(AgentPrograms, WhatListensInTheGuestIsTold) {
  const Fd before = listening_socket();
  const Port known = local_endpoint(before.get()).port;
  open_guest();
  EXPECT_TRUE(hears<RelayGuestUp>());
  EXPECT_TRUE(
      hears<RelayGuestListener>([&](const auto& told) { return told.listener.key.port == known; }));
  EXPECT_TRUE(hears<RelayGuestSynced>());
  Fd now = listening_socket();
  const Port fresh = local_endpoint(now.get()).port;
  EXPECT_TRUE(
      hears<RelayGuestListener>([&](const auto& told) { return told.listener.key.port == fresh; }));
  now.reset();
  EXPECT_TRUE(hears<RelayGuestGone>([&](const auto& gone) { return gone.key.port == fresh; }));
  end(agent_);
  EXPECT_TRUE(hears<RelayGuestDown>());
  unlink(agent_path_.c_str());
  start_agent();
  open_guest();
  EXPECT_TRUE(hears<RelayGuestUp>());
  EXPECT_TRUE(hears<RelayGuestSynced>());
}

// Under the relay's system call filter, too.
TEST_F(AgentPrograms, RepliesOfAQemuGuestAgentAreUnderstood) {
  const auto answer = [&](RelayAgentStep step, const std::string& text) {
    control().send(RelayAgentReply{guest, 7, step, text});
    RelayAgentAnswer heard;
    EXPECT_TRUE(hears<RelayAgentAnswer>([&](const auto& one) {
      heard = one;
      return true;
    }));
    return heard;
  };
  EXPECT_EQ(answer(RelayAgentStep::number, R"({"return": 1000})").number, 1000);
  for (const std::string& bad :
       {std::string("{\"return\": "), std::string("\xff\xfe"), std::string(60'000, '['),
        std::string(R"({"error": {"class": "GenericError", "desc": "x"}})")})
    EXPECT_FALSE(answer(RelayAgentStep::number, bad).understood);
}

// What random programs do to each other over it, resets and half-closes among it.
TEST_F(AgentPrograms, RandomTransfersArriveAsTheyWere) {
  const Fd target = listening_socket();
  open_guest();
  ASSERT_TRUE(hears<RelayGuestUp>());
  const Endpoint host = forward(local_endpoint(target.get()));
  int unknown = 0;
  int known = 0;
  for (std::uint64_t seed = 1; seed <= 200 && !HasFailure(); ++seed) {
    Random random(seed);
    Fd client = connected_socket(host);
    Fd server = accepted_socket(target);
    const Scripts scripts = random_scripts(random);
    const Verdict verdict = transfer(std::move(client), std::move(server), scripts, random);
    // In vsock, and in a unix socket, who has said its end cannot tell a reset from the other's
    // end.
    static const std::regex unknowable(
        "a reset arrived as an orderly end\n[^]*sent [0-9]+ and ended, received [0-9]+ and the "
        "end[^]*");
    if (std::regex_match(verdict.wrong, unknowable)) {
      ++unknown;
      continue;
    }
    ++known;
    EXPECT_EQ(verdict.wrong, "") << "seed " << seed << ": client " << scripts.client.text()
                                 << ", server " << scripts.server.text();
  }
  EXPECT_GT(known, 8 * unknown);
}

}  // namespace
}  // namespace vf
