// SPDX-License-Identifier: LGPL-2.1-or-later
//
// With real sockets of this process and its children. What else listens on this machine is passed
// over. Everything runs with the hints of the kernel, where it gives any, and without.

#include "guest/watch.h"

#include <linux/sockios.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <set>

#include "agent_lab.h"

namespace vf::guest {
namespace {

using std::chrono::milliseconds;

class GuestWatch : public testing::TestWithParam<bool> {
 protected:
  static Limits limits() {
    Limits made;
    made.hints = GetParam();
    return made;
  }
  // One fall-back period, or how long a busy machine may take to be told.
  static milliseconds soon() { return milliseconds(4000); }
  static const GuestListener* of(const std::vector<GuestListener>& all, std::uint16_t port) {
    const auto at = std::ranges::find_if(
        all, [port](const GuestListener& one) { return one.key.port.number() == port; });
    return at == all.end() ? nullptr : &*at;
  }
};

INSTANTIATE_TEST_SUITE_P(Hints, GuestWatch, testing::Bool(), [](const auto& test) {
  return test.param ? "WithHints" : "WithoutHints";
});

std::string own_name() {
  char name[16] = "";
  prctl(PR_GET_NAME, name);
  return name;
}

// A child that does what it is told and lives until it is ended.
class Child {
 public:
  template <typename Work>
  explicit Child(Work work) : pid_(fork()) {
    if (pid_ != 0) return;
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    work();
    for (;;)
      pause();
  }
  ~Child() { end(); }
  void end() {
    if (pid_ <= 0) return;
    kill(pid_, SIGKILL);
    waitpid(pid_, nullptr, 0);
    pid_ = -1;
  }
  std::uint32_t pid() const { return static_cast<std::uint32_t>(pid_); }

 private:
  pid_t pid_;
};

TEST_P(GuestWatch, TheSourceIsToldTruthfully) {
  const AgentThread agent({}, limits());
  const ControlClient control(agent);
  // Where the kernel gives no hints it is the fall-back that all these tests are about.
  const std::string source = control.hello.fallback_ms == 0 ? "tracepoint" : "fall-back";
  RecordProperty("source", source);
  std::printf("source: %s\n", source.c_str());
  if (!GetParam()) {
    EXPECT_EQ(control.hello.fallback_ms, 1000u);
  }
  const ControlClient with_udp(agent, guest_wants_udp);
  EXPECT_LE(with_udp.hello.fallback_ms, 1000u);
}

TEST_P(GuestWatch, ASnapshotThenChanges) {
  const TestListener before;
  const AgentThread agent({}, limits());
  ControlClient control(agent);
  const auto all = control.snapshot();
  const GuestListener* const there = of(all, before.port);
  ASSERT_NE(there, nullptr);
  EXPECT_EQ(there->pid, static_cast<std::uint32_t>(getpid()));
  EXPECT_EQ(there->uid, getuid());
  EXPECT_FALSE(there->name.empty());
  EXPECT_NE(there->command.find("unit_guest"), std::string::npos);

  std::uint16_t port = 0;
  {
    const TestListener later;
    port = later.port;
    const auto told = control.listens(port, soon());
    ASSERT_TRUE(told);
    EXPECT_EQ(told->key.address, IpAddress::loopback4());
    EXPECT_FALSE(told->key.udp);
    EXPECT_EQ(told->pid, static_cast<std::uint32_t>(getpid()));
    EXPECT_EQ(told->name, own_name());
  }
  EXPECT_TRUE(control.gone(port, soon()));
}

TEST_P(GuestWatch, WhatIsBoundOrConnectedOnlyIsNotTold) {
  const TestListener service;
  const TestListener bound("127.0.0.1", false);
  const AgentThread agent({}, limits());
  const Asked asked = ask(agent, to_port(agent, service.port));
  const Fd accepted = service.accept();
  ControlClient control(agent);
  const auto all = control.snapshot();
  EXPECT_NE(of(all, service.port), nullptr);
  EXPECT_EQ(of(all, bound.port), nullptr);
  // The agent's own end of the connection.
  SocketAddress client;
  client.length = sizeof client.storage;
  ASSERT_EQ(getpeername(accepted.get(), client.get(), &client.length), 0);
  EXPECT_EQ(of(all, client.endpoint()->port.number()), nullptr);
}

TEST_P(GuestWatch, AddressesAreToldAsTheyAre) {
  const TestListener any4("0.0.0.0");
  const TestListener any6("::");
  const TestListener mapped("::ffff:127.0.0.1");
  const AgentThread agent({}, limits());
  ControlClient control(agent);
  const auto all = control.snapshot();
  ASSERT_TRUE(of(all, any4.port) && of(all, any6.port) && of(all, mapped.port));
  EXPECT_EQ(of(all, any4.port)->key.address.text(), "0.0.0.0");
  EXPECT_EQ(of(all, any6.port)->key.address.text(), "::");
  EXPECT_EQ(of(all, mapped.port)->key.address.text(), "127.0.0.1");
}

TEST_P(GuestWatch, SocketsThatShareAPortAreOne) {
  const AgentThread agent({}, limits());
  ControlClient control(agent);
  control.snapshot();
  const int on = 1;
  TestListener first("127.0.0.1", false);
  const auto bind_again = [&] {
    Fd fd(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
    setsockopt(fd.get(), SOL_SOCKET, SO_REUSEPORT, &on, sizeof on);
    const auto local = SocketAddress::from(IpAddress::loopback4(), Port::from(first.port));
    EXPECT_EQ(bind(fd.get(), local.get(), local.length), 0);
    EXPECT_EQ(listen(fd.get(), 1), 0);
    return fd;
  };
  first.socket.reset();
  Fd one = bind_again();
  ASSERT_TRUE(control.listens(first.port, soon()));
  Fd two = bind_again();
  one.reset();
  EXPECT_FALSE(control.gone(first.port, milliseconds(1500)));
  two.reset();
  EXPECT_TRUE(control.gone(first.port, soon()));
}

TEST_P(GuestWatch, WhatIsDeniedIsHidden) {
  const TestListener shown;
  const TestListener hidden;
  AgentThread agent(parsed("deny = " + std::to_string(hidden.port)), limits());
  ControlClient control(agent);
  const auto all = control.snapshot();
  EXPECT_NE(of(all, shown.port), nullptr);
  EXPECT_EQ(of(all, hidden.port), nullptr);
  agent.configure(parsed("deny = " + std::to_string(shown.port)));
  EXPECT_TRUE(control.gone(shown.port, soon()));
  EXPECT_TRUE(control.listens(hidden.port, soon()));
}

TEST_P(GuestWatch, UdpIsToldToWhomWantsIt) {
  const Fd udp(socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0));
  const auto local = SocketAddress::from(IpAddress::loopback4(), std::nullopt);
  ASSERT_EQ(bind(udp.get(), local.get(), local.length), 0);
  SocketAddress bound;
  bound.length = sizeof bound.storage;
  getsockname(udp.get(), bound.get(), &bound.length);
  const auto port = bound.endpoint()->port.number();

  const AgentThread agent({}, limits());
  ControlClient without(agent);
  EXPECT_EQ(of(without.snapshot(), port), nullptr);
  ControlClient with(agent, guest_wants_udp);
  const auto all = with.snapshot();
  ASSERT_NE(of(all, port), nullptr);
  EXPECT_TRUE(of(all, port)->key.udp);
  EXPECT_FALSE(without.listens(port, milliseconds(1500)));

  send_all(without.stream, encode(GuestWants{guest_wants_udp}));
  EXPECT_TRUE(without.listens(port, soon()));
  send_all(without.stream, encode(GuestWants{0}));
  EXPECT_TRUE(without.gone(port, soon()));
}

TEST_P(GuestWatch, AForkedServerHasItsOwnName) {
  const AgentThread agent({}, limits());
  ControlClient control(agent);
  control.snapshot();
  const TestListener chosen("127.0.0.1", false);
  Child server([&] {
    prctl(PR_SET_NAME, "forked-one");
    listen(chosen.socket.get(), 1);
  });
  const auto told = control.listens(chosen.port, soon());
  ASSERT_TRUE(told);
  // Parent and child have the socket; with a hint it is who made it listen.
  if (control.hello.fallback_ms == 0) {
    EXPECT_EQ(told->pid, server.pid());
    EXPECT_EQ(told->name, "forked-one");
  }
}

TEST_P(GuestWatch, AServerThatEndsLeavesItsSocketToItsChild) {
  const AgentThread agent({}, limits());
  ControlClient control(agent);
  control.snapshot();
  int answer[2];
  ASSERT_EQ(pipe2(answer, O_CLOEXEC), 0);
  Child parent([&] {
    const TestListener made;
    const pid_t heir = fork();
    if (heir == 0) {
      prctl(PR_SET_NAME, "heir");
      for (;;)
        pause();
    }
    const std::uint32_t told[2] = {made.port, static_cast<std::uint32_t>(heir)};
    if (write(answer[1], told, sizeof told) < 0) _exit(1);
    for (;;)
      pause();
  });
  std::uint32_t told[2];
  ASSERT_EQ(read(answer[0], told, sizeof told), static_cast<ssize_t>(sizeof told));
  const auto port = static_cast<std::uint16_t>(told[0]);
  const auto first = control.listens(port, soon());
  ASSERT_TRUE(first);
  EXPECT_EQ(first->pid, parent.pid());
  parent.end();
  // Its end is told by the kernel: long before anybody would look.
  const auto second = control.listens(port, milliseconds(700));
  EXPECT_TRUE(second);
  if (second) {
    EXPECT_EQ(second->pid, told[1]);
    EXPECT_EQ(second->name, "heir");
  }
  kill(static_cast<pid_t>(told[1]), SIGKILL);
  EXPECT_TRUE(control.gone(port, soon()));
  close(answer[0]);
  close(answer[1]);
}

TEST_P(GuestWatch, AnotherNameIsAChange) {
  const AgentThread agent({}, limits());
  ControlClient control(agent);
  control.snapshot();
  int go[2];
  int port_of[2];
  ASSERT_EQ(pipe2(go, O_CLOEXEC), 0);
  ASSERT_EQ(pipe(port_of), 0);
  Child server([&] {
    const TestListener made;
    char byte = 0;
    if (write(port_of[1], &made.port, sizeof made.port) < 0 || read(go[0], &byte, 1) < 0) _exit(1);
    prctl(PR_SET_NAME, "renamed");
    if (read(go[0], &byte, 1) < 0) _exit(1);
    fcntl(made.socket.get(), F_SETFD, 0);
    execl("/bin/sleep", "sleep", "1000", nullptr);
  });
  std::uint16_t port = 0;
  ASSERT_EQ(read(port_of[0], &port, sizeof port), static_cast<ssize_t>(sizeof port));
  ASSERT_TRUE(control.listens(port, soon()));
  ASSERT_EQ(write(go[1], "1", 1), 1);
  const auto renamed = control.listens(port, soon());
  ASSERT_TRUE(renamed);
  EXPECT_EQ(renamed->name, "renamed");
  ASSERT_EQ(write(go[1], "2", 1), 1);
  const auto executed = control.listens(port, soon());
  ASSERT_TRUE(executed);
  EXPECT_EQ(executed->name, "sleep");
  EXPECT_EQ(executed->command, "sleep 1000");
  for (const int fd : {go[0], go[1], port_of[0], port_of[1]})
    close(fd);
}

TEST_P(GuestWatch, AServiceThatComesAndGoesIsRightInTheEnd) {
  const AgentThread agent({}, limits());
  ControlClient control(agent);
  control.snapshot();
  const int on = 1;
  TestListener chosen("127.0.0.1", false);
  chosen.socket.reset();
  Fd last;
  for (int round = 0; round < 200; ++round) {
    last.reset(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
    setsockopt(last.get(), SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    const auto local = SocketAddress::from(IpAddress::loopback4(), Port::from(chosen.port));
    ASSERT_EQ(bind(last.get(), local.get(), local.length), 0);
    ASSERT_EQ(listen(last.get(), 1), 0);
    if (round < 199) last.reset();
  }
  // However many of them were seen.
  bool there = false;
  for (const auto until = Clock::now() + soon(); Clock::now() < until;) {
    const auto frame = control.next(there ? milliseconds(1200) : soon());
    if (!frame) break;
    if (const auto* const listens = std::get_if<GuestListens>(&*frame))
      there = there || listens->listener.key.port.number() == chosen.port;
    if (const auto* const gone = std::get_if<GuestGone>(&*frame))
      there = there && gone->key.port.number() != chosen.port;
  }
  EXPECT_TRUE(there);
}

TEST_P(GuestWatch, ABurstIsTold) {
  const AgentThread agent({}, limits());
  ControlClient control(agent);
  control.snapshot();
  std::vector<TestListener> burst;
  std::set<std::uint16_t> missing;
  for (int at = 0; at < 300; ++at) {
    burst.emplace_back();
    missing.insert(burst.back().port);
  }
  while (!missing.empty()) {
    const auto frame = control.next();
    ASSERT_TRUE(frame);
    if (const auto* const listens = std::get_if<GuestListens>(&*frame))
      missing.erase(listens->listener.key.port.number());
  }
}

// Each look takes its time, and the next one waits for longer.
TEST_P(GuestWatch, ManyChangesAmongTenThousandSocketsAreFewLooks) {
  AgentThread agent({}, limits());
  agent.sockets.invented = 10'000;
  agent.sockets.duration = milliseconds(4);
  ControlClient control(agent);
  control.snapshot();
  const int before = agent.sockets.dumps;
  for (const auto until = Clock::now() + milliseconds(400); Clock::now() < until;) {
    const TestListener one;
    std::this_thread::sleep_for(milliseconds(1));
  }
  EXPECT_LE(agent.sockets.dumps - before, 15);
}

TEST_P(GuestWatch, TenThousandSocketsAreCapped) {
  AgentThread agent({}, limits());
  agent.sockets.invented = 10'000;
  ControlClient control(agent);
  EXPECT_EQ(control.snapshot().size(), Watch::max_listeners);
  EXPECT_EQ(control.left_out, 10'000 - Watch::max_listeners);
}

TEST_P(GuestWatch, NobodyWhoWantsItNoWork) {
  AgentThread agent({}, limits());
  {
    ControlClient control(agent);
    control.snapshot();
  }
  // The agent has noticed once another one's answer has come.
  const TestListener service;
  EXPECT_EQ(ask(agent, to_port(agent, service.port)).reply.status, GuestStatus::ok);
  const int before = agent.sockets.dumps;
  std::vector<TestListener> others(5);
  std::this_thread::sleep_for(milliseconds(1300));  // longer than a fall-back period
  EXPECT_EQ(agent.sockets.dumps, before);
}

TEST_P(GuestWatch, AHostThatDoesNotReadLosesItsStream) {
  AgentThread agent({}, limits());
  ControlClient control(agent);
  const int small = 4096;
  setsockopt(control.stream.get(), SOL_SOCKET, SO_RCVBUF, &small, sizeof small);
  // Each table is another one for the agent: a snapshot's worth of frames, never read.
  bool lost = false;
  // A host that asks faster than the agent can look would only keep it busy.
  const auto taken = [&] {
    int unread = 0;
    return ioctl(control.stream.get(), SIOCOUTQ, &unread) == 0 && unread == 0;
  };
  const auto until = Clock::now() + std::chrono::seconds(50);
  for (int round = 0; !lost && Clock::now() < until; ++round) {
    agent.sockets.invented = round % 2 == 0 ? 1000 : 1;
    for (const std::uint16_t flags : {guest_wants_udp, std::uint16_t{0}}) {
      while (!lost && !taken() && Clock::now() < until)
        std::this_thread::sleep_for(milliseconds(1));
      const auto wants = encode(GuestWants{flags});
      lost = lost || send(control.stream.get(), wants.data(), wants.size(), MSG_NOSIGNAL) < 0;
    }
  }
  EXPECT_TRUE(lost);
  // Others notice nothing.
  ControlClient other(agent);
  EXPECT_EQ(other.reply.status, GuestStatus::ok);
}

}  // namespace
}  // namespace vf::guest
