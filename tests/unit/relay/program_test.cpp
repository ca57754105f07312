// SPDX-License-Identifier: LGPL-2.1-or-later
//
// The relay program and its control socket, byte by byte where a daemon would not.

#include <fcntl.h>
#include <gtest/gtest.h>
#include <seccomp.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cstdint>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <functional>
#include <iterator>
#include <map>
#include <set>
#include <string>
#include <thread>
#include <vector>

#include "control_client.h"
#include "loopback.h"
#include "wire/relay.h"

namespace vf {
namespace {

using namespace test;

class ProgramTest : public testing::Test {
 protected:
  ProgramTest() {
    char name[] = "/tmp/relay-program-test.XXXXXX";
    directory_ = mkdtemp(name);
    path_ = directory_ + "/relay.sock";
  }
  ~ProgramTest() override {
    if (pid_ > 0) {
      kill(pid_, SIGKILL);
      waitpid(pid_, nullptr, 0);
    }
    unlink(path_.c_str());
    rmdir(directory_.c_str());
  }

  // `prepare` runs in the child.
  void start(
      const std::function<void()>& prepare = [] {}, const char* option = "--control-fd=3") {
    Fd listening(socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0));
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    path_.copy(address.sun_path, sizeof address.sun_path - 1);
    ASSERT_EQ(bind(listening.get(), reinterpret_cast<sockaddr*>(&address), sizeof address), 0);
    ASSERT_EQ(listen(listening.get(), 16), 0);
    const int high = fcntl(listening.get(), F_DUPFD_CLOEXEC, 100);
    pid_ = fork();
    if (pid_ == 0) {
      dup2(high, 3);
      prepare();
      execl(VF_RELAY_PROGRAM_PATH, "virt-forward-relay", option, second_option_, nullptr);
      _exit(127);
    }
    close(high);
  }

  // The exit status, or -1 for a signal.
  int wait_for_end() {
    int status = 0;
    waitpid(pid_, &status, 0);
    pid_ = 0;
    return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
  }

  std::string directory_;
  std::string path_;
  pid_t pid_ = 0;
  const char* second_option_ = nullptr;
};

TEST_F(ProgramTest, SaysHelloAndEndsCleanlyOnSigterm) {
  start();
  Control control(path_);
  ASSERT_TRUE(control.greet());
  kill(pid_, SIGTERM);
  EXPECT_EQ(wait_for_end(), 0);
}

TEST_F(ProgramTest, TakesTheSocketFromTheServiceManager) {
  start(
      [] {
        setenv("LISTEN_PID", std::to_string(getpid()).c_str(), 1);
        setenv("LISTEN_FDS", "1", 1);
      },
      nullptr);
  EXPECT_TRUE(Control(path_).greet());
}

TEST_F(ProgramTest, TellsTheServiceManagerThatItIsReady) {
  const std::string notify = directory_ + "/notify";
  const Fd manager(socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0));
  set_deadline(manager.get());
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  notify.copy(address.sun_path, sizeof address.sun_path - 1);
  ASSERT_EQ(bind(manager.get(), reinterpret_cast<sockaddr*>(&address), sizeof address), 0);
  start([&] { setenv("NOTIFY_SOCKET", notify.c_str(), 1); });
  EXPECT_EQ(receive(manager, 7), "READY=1");
  unlink(notify.c_str());
}

// The lines of /proc/PID/task/*/status that begin so, each with how many threads have it.
std::map<std::string, int> status_lines(pid_t pid, const std::set<std::string>& names) {
  std::map<std::string, int> lines;
  const std::string tasks = "/proc/" + std::to_string(pid) + "/task";
  for (const auto& task : std::filesystem::directory_iterator(tasks)) {
    std::ifstream status(task.path() / "status");
    std::string line;
    while (std::getline(status, line))
      if (names.contains(line.substr(0, line.find(':')))) ++lines[line];
  }
  return lines;
}

TEST_F(ProgramTest, EveryThreadIsConfinedAndServes) {
  start();
  Control control(path_);
  ASSERT_TRUE(control.greet());
  const Fd target = listening_socket();
  RelayAdd add{{"a", {{local_endpoint(target.get())}}, 0}, {}};
  add.listeners.push_back(listening_socket());
  const Endpoint host = local_endpoint(add.listeners[0].get());
  control.send_with_fds(std::move(add));
  control.send(RelayCommit{1});
  EXPECT_TRUE(control.receives<RelayCommitted>());
  for (int i = 0; i < 50; ++i) {
    const Fd client = connected_socket(host);
    const Fd guest = accepted_socket(target);
    EXPECT_TRUE(send_all(client, "question"));
    EXPECT_EQ(receive(guest, 8), "question");
    const std::string much(500'000, 'x');
    std::thread answer([&] { EXPECT_TRUE(send_all(guest, much)); });
    EXPECT_EQ(receive(client, much.size()), much);
    answer.join();
  }
  const auto lines = status_lines(
      pid_, {"CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb", "NoNewPrivs", "Seccomp"});
  std::set<std::string> kinds;
  for (const auto& [line, threads] : lines) {
    kinds.insert(line);
    EXPECT_EQ(threads, lines.begin()->second) << line;
  }
  const std::string none = ":\t0000000000000000";
  EXPECT_EQ(kinds, (std::set<std::string>{"CapInh" + none, "CapPrm" + none, "CapEff" + none,
                                          "CapBnd" + none, "CapAmb" + none, "NoNewPrivs:\t1",
                                          "Seccomp:\t2"}))
      << "the bounding set takes root";
}

TEST_F(ProgramTest, AKernelWithoutSeccompIsAWarning) {
  const std::string log = directory_ + "/log";
  start([&] {
    scmp_filter_ctx filter = seccomp_init(SCMP_ACT_ALLOW);
    seccomp_rule_add(filter, SCMP_ACT_ERRNO(ENOSYS), SCMP_SYS(seccomp), 0);
    seccomp_rule_add(filter, SCMP_ACT_ERRNO(EINVAL), SCMP_SYS(prctl), 1,
                     SCMP_A0(SCMP_CMP_EQ, PR_SET_SECCOMP));
    seccomp_rule_add(filter, SCMP_ACT_ERRNO(ENOSYS), SCMP_SYS(landlock_create_ruleset), 0);
    seccomp_load(filter);
    dup2(open(log.c_str(), O_CREAT | O_WRONLY | O_APPEND, 0600), STDERR_FILENO);
  });
  EXPECT_TRUE(Control(path_).greet());
  std::ifstream file(log);
  const std::string text((std::istreambuf_iterator<char>(file)), {});
  EXPECT_NE(text.find("not confined by seccomp"), std::string::npos) << text;
  EXPECT_NE(text.find("confined seccomp=no landlock=no capabilities=none"), std::string::npos)
      << text;
  unlink(log.c_str());
}

TEST_F(ProgramTest, EndsWhenThereIsNeitherADaemonNorAForward) {
  second_option_ = "--exit-when-idle=1";
  start();
  {
    Control control(path_);
    ASSERT_TRUE(control.greet());
  }
  EXPECT_EQ(wait_for_end(), 0);
}

// The time of those that stay is over when that of one that began after them is.
TEST_F(ProgramTest, StaysForADaemonAndForAForwardWithout) {
  second_option_ = "--exit-when-idle=1";
  start();
  RelayAdd add{{"a", {}, 0}, {}};
  add.listeners.push_back(listening_socket());
  const Endpoint host = local_endpoint(add.listeners[0].get());
  {
    Control control(path_);
    ASSERT_TRUE(control.greet());
    control.send_with_fds(std::move(add));
    control.send(RelayCommit{1});
    EXPECT_TRUE(control.receives<RelayCommitted>());
  }
  const pid_t serving = pid_;
  unlink(path_.c_str());
  start();
  EXPECT_EQ(wait_for_end(), 0);
  EXPECT_EQ(waitpid(serving, nullptr, WNOHANG), 0);
  EXPECT_TRUE(connected_socket(host));

  unlink(path_.c_str());
  pid_ = serving;
  ASSERT_EQ(kill(serving, SIGKILL), 0);
  EXPECT_EQ(wait_for_end(), -1);
  start();
  Control daemon(path_);
  ASSERT_TRUE(daemon.greet());
  const pid_t connected = pid_;
  unlink(path_.c_str());
  start();
  EXPECT_EQ(wait_for_end(), 0);
  EXPECT_EQ(waitpid(connected, nullptr, WNOHANG), 0);
  pid_ = connected;
}

TEST_F(ProgramTest, WrongUsageIsExitTwo) {
  start([] {}, "--no-such-option");
  EXPECT_EQ(wait_for_end(), 2);
}

TEST_F(ProgramTest, AnotherKindOfSocketIsAnError) {
  start([] { dup2(STDERR_FILENO, 3); });
  EXPECT_EQ(wait_for_end(), 1);
}

TEST_F(ProgramTest, ANewerDaemonReplacesTheOlderAndItsStagedChanges) {
  start();
  Control older(path_);
  ASSERT_TRUE(older.greet());
  RelayAdd add{{"a", {}, 0}, {}};
  add.listeners.push_back(listening_socket());
  older.send_with_fds(std::move(add));
  Control newer(path_);
  ASSERT_TRUE(newer.greet());
  EXPECT_TRUE(older.dropped());
  newer.send(RelayCommit{1});
  EXPECT_TRUE(newer.receives<RelayCommitted>());
  newer.send(RelayList{2});
  EXPECT_TRUE(newer.receives<RelayListEnd>());
}

TEST_F(ProgramTest, KeepsAFewThingsAndNoMore) {
  start();
  const auto keep = [](Control& control, const std::string& name) {
    RelayKeep message{name, {}};
    message.fds.push_back(listening_socket());
    control.send_with_fds(std::move(message));
  };
  Control control(path_);
  keep(control, "a");  // before the hello
  EXPECT_TRUE(control.dropped());
  Control daemon(path_);
  ASSERT_TRUE(daemon.greet());
  for (const char* name : {"a", "b", "c", "d", "a"})
    keep(daemon, name);
  daemon.send(RelayCommit{1});
  EXPECT_TRUE(daemon.receives<RelayCommitted>());
  keep(daemon, "e");
  EXPECT_TRUE(daemon.dropped());
}

TEST_F(ProgramTest, WhoSpeaksAnotherVersionIsToldOursAndDropped) {
  start();
  Control control(path_);
  control.send(RelayHello{relay_protocol_version + 1, 0, 0});
  EXPECT_TRUE(control.receives<RelayHello>());
  EXPECT_TRUE(control.dropped());
}

TEST_F(ProgramTest, NonsenseEndsTheConnectionAndNothingElse) {
  start();
  const std::vector<std::function<void(Control&)>> nonsense = {
      [](Control& control) { control.send_raw("GET / HTTP/1.0\r\n\r\n"); },
      [](Control& control) { control.send_raw(std::string(relay_packet_max_bytes + 1, 'x')); },
      [](Control& control) { control.send(RelayCommit{1}); },   // before the hello
      [](Control& control) { control.send(RelayShutDown{}); },  // before the hello
      [](Control& control) { control.send(RelayListEnd{1}); },  // not a daemon's
      [](Control& control) {
        control.greet();
        control.send(RelayHello{});  // twice
      },
      [](Control& control) {
        control.greet();
        RelayAdd add{{"a", {}, 0}, {}};
        add.listeners.push_back(Fd(socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0)));
        control.send_with_fds(std::move(add));
      },
  };
  for (std::size_t i = 0; i < nonsense.size(); ++i) {
    Control control(path_);
    nonsense[i](control);
    EXPECT_TRUE(control.dropped()) << i;
  }
  EXPECT_TRUE(Control(path_).greet());
}

TEST_F(ProgramTest, ManySilentConnectionsLeaveRoomForADaemon) {
  start();
  std::vector<Control> silent;
  for (int i = 0; i < 12; ++i)
    silent.emplace_back(path_);
  // The last ones are hung up on; when some of the others go, a daemon gets in.
  EXPECT_TRUE(silent.back().dropped());
  silent.clear();
  bool greeted = false;
  for (int i = 0; i < 100 && !greeted; ++i)
    greeted = Control(path_).greet();
  EXPECT_TRUE(greeted);
}

TEST_F(ProgramTest, AnswersAQuestionPacketByPacket) {
  start();
  Control control(path_);
  ASSERT_TRUE(control.greet());
  for (int i = 0; i < 900; ++i) {
    RelayAdd add{{std::to_string(i) + std::string(200, 'k'), {}, 0}, {}};
    control.send(std::move(add));
  }
  control.send(RelayCommit{1});
  EXPECT_TRUE(control.receives<RelayCommitted>());
  control.send(RelayStatistics{2});
  std::size_t counted = 0;
  std::size_t lanes = 0;
  std::size_t packets = 0;
  for (bool ended = false; !ended; ++packets) {
    const auto messages = control.receive();
    ASSERT_FALSE(messages.empty());
    for (const RelayMessage& message : messages) {
      counted += std::holds_alternative<RelayCounters>(message);
      lanes += std::holds_alternative<RelayLaneStatistics>(message);
      ended = ended || std::holds_alternative<RelayStatisticsEnd>(message);
    }
  }
  EXPECT_EQ(counted, 900u);
  EXPECT_GT(packets, 3u);
  EXPECT_EQ(lanes, 0u) << "an older daemon knows no such message";
}

TEST_F(ProgramTest, TellsOfItsLanesWhereThatIsUnderstood) {
  start();
  Control control(path_);
  control.send(RelayHello{relay_protocol_version, relay_capabilities, 1});
  ASSERT_TRUE(control.receives<RelayHello>());
  control.send(RelayStatistics{1});
  const auto messages = control.receive();
  ASSERT_EQ(messages.size(), 3u);
  EXPECT_FALSE(std::get<RelayLaneStatistics>(messages[0]).bulk);
  EXPECT_TRUE(std::get<RelayLaneStatistics>(messages[1]).bulk);
  EXPECT_TRUE(std::holds_alternative<RelayStatisticsEnd>(messages[2]));
}

}  // namespace
}  // namespace vf
