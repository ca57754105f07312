// SPDX-License-Identifier: LGPL-2.1-or-later
//
// The relay's end of the control streams, against agents that keep to the protocol and others.

#include "relay/guests.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/socket.h>

#include <algorithm>
#include <cerrno>
#include <string>
#include <utility>
#include <vector>

#include "loopback.h"
#include "wire/guest.h"

namespace vf {
namespace {

using test::run_until;
using Bytes = std::vector<std::uint8_t>;

const RelayEndpoint agent_address = VsockEndpoint{3, guest_agent_port};

// The agent's end of a control stream, not blocking.
class Agent {
 public:
  Agent() {
    int ends[2];
    EXPECT_EQ(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends), 0);
    own_.reset(ends[0]);
    theirs_.reset(ends[1]);
    fcntl(own_.get(), F_SETFL, O_NONBLOCK);
  }
  RelayGuestOpen open(const std::string& guest, bool wants_udp = false) {
    RelayGuestOpen open{guest, agent_address, wants_udp, {}};
    open.control.push_back(std::move(theirs_));
    return open;
  }
  // How much of it there was room for.
  std::size_t say(const Bytes& bytes) {
    const ssize_t sent = send(own_.get(), bytes.data(), bytes.size(), MSG_NOSIGNAL);
    return sent < 0 ? 0 : static_cast<std::size_t>(sent);
  }
  void reply(const GuestReply& reply = {}) {
    const auto bytes = encode(reply);
    say(Bytes(bytes.begin(), bytes.end()));
  }
  void frame(const GuestFrame& frame) { say(encode(frame)); }
  void greet(const GuestToken& token = {1}) {
    reply();
    frame(GuestHello{token, 0, "agent 1"});
  }
  // What came; shorter at the end of the stream and where nothing more is there.
  Bytes heard(std::size_t most = 4096) {
    Bytes bytes(most);
    const ssize_t got = recv(own_.get(), bytes.data(), most, 0);
    ended = got == 0;
    bytes.resize(got > 0 ? static_cast<std::size_t>(got) : 0);
    return bytes;
  }
  void hang_up() { own_.reset(); }

  bool ended = false;

 private:
  Fd own_;
  Fd theirs_;
};

GuestListens listens(unsigned port, const std::string& name = "") {
  GuestListens frame;
  frame.listener.key = {false, *IpAddress::parse("0.0.0.0"), *Port::from(port)};
  frame.listener.name = name;
  return frame;
}

class GuestsTest : public testing::Test, protected Guests::Outlet {
 protected:
  GuestsTest()
      : guests_(
            *this,
            [this](const std::string& guest) {
              auto& access = access_[guest];
              if (!access) access = std::make_shared<AgentAccess>();
              return access;
            },
            [this](const std::string& guest) { new_lives_.push_back(guest); }) {}

  bool takes_news() override { return takes_; }
  void tell(RelayPacket packet) override {
    auto messages = decode_relay_packet(packet.bytes, std::move(packet.fds));
    ASSERT_TRUE(messages);
    ++packets_;
    for (RelayMessage& message : *messages) {
      ++told_;
      log_.push_back(text_of(message));
      if (auto* synced = std::get_if<RelayGuestSynced>(&message)) synced_ = *synced;
    }
  }
  static std::string text_of(const RelayMessage& message) {
    if (const auto* up = std::get_if<RelayGuestUp>(&message))
      return up->guest + " up " + up->program;
    if (const auto* down = std::get_if<RelayGuestDown>(&message))
      return down->guest + " down " + std::to_string(static_cast<int>(down->fault)) + " errno " +
             std::to_string(down->error_number) + " status " + std::to_string(down->status) +
             " version " + std::to_string(down->version);
    if (const auto* told = std::get_if<RelayGuestListener>(&message))
      return told->guest + " +" + std::to_string(told->listener.key.port.number()) +
             (told->listener.key.udp ? "/udp" : "") +
             (told->listener.name.empty() ? "" : ' ' + told->listener.name);
    if (const auto* gone = std::get_if<RelayGuestGone>(&message))
      return gone->guest + " -" + std::to_string(gone->key.port.number());
    if (const auto* synced = std::get_if<RelayGuestSynced>(&message))
      return synced->guest + " synced";
    return "?";
  }
  // True when the log comes to be this; it is emptied.
  testing::AssertionResult tells(const std::vector<std::string>& expected) {
    run_until([&] { return log_.size() >= expected.size(); });
    const auto log = std::exchange(log_, {});
    if (log == expected) return testing::AssertionSuccess();
    auto failure = testing::AssertionFailure() << "it told";
    for (const std::string& line : log)
      failure << " [" << line << ']';
    return failure;
  }
  // 0: there is one.
  int way(const std::string& guest) {
    int error_number = 0;
    return access_[guest]->way(error_number) ? 0 : error_number;
  }
  void spin(std::chrono::milliseconds time) {
    bool over = false;
    const Source timer = after(time, [&] { over = true; });
    run_until([&] { return over; });
  }

  bool takes_ = true;
  std::size_t packets_ = 0;
  std::size_t told_ = 0;
  std::vector<std::string> log_;
  std::vector<std::string> new_lives_;
  RelayGuestSynced synced_;
  std::map<std::string, std::shared_ptr<AgentAccess>> access_;
  Guests guests_;
};

TEST_F(GuestsTest, AnotherTokenIsAnotherLifeOfTheAgent) {
  for (const GuestToken& token : {GuestToken{7}, GuestToken{7}, GuestToken{8}}) {
    Agent agent;
    guests_.open(agent.open("g"));
    agent.greet(token);
    EXPECT_TRUE(tells({"g up agent 1"}));
  }
  EXPECT_EQ(new_lives_, (std::vector<std::string>{"g", "g"}));
}

TEST_F(GuestsTest, AnHonestAgentIsToldAtOnce) {
  Agent agent;
  guests_.open(agent.open("g", true));
  Bytes request;
  run_until([&] { return !(request = agent.heard()).empty(); });
  ASSERT_EQ(request.size(), GuestRequest::bytes);
  const auto asked = decode_guest_request(std::span(request).first<GuestRequest::bytes>());
  ASSERT_TRUE(asked);
  EXPECT_EQ(asked->service, GuestService::control);
  EXPECT_EQ(asked->flags, guest_wants_udp);
  EXPECT_EQ(way("g"), EAGAIN);

  agent.greet({7, 7});
  agent.frame(listens(80, "nginx"));
  agent.frame(listens(22));
  agent.frame(GuestSnapshotEnd{});
  EXPECT_TRUE(tells({"g up agent 1", "g +80 nginx", "g +22", "g synced"}));
  int error_number = 0;
  const auto found = access_["g"]->way(error_number);
  ASSERT_TRUE(found);
  EXPECT_EQ(found->token, (GuestToken{7, 7}));
  EXPECT_EQ(found->agent, agent_address);

  agent.frame(listens(8080));
  g_main_context_iteration(nullptr, TRUE);
  EXPECT_EQ(log_, (std::vector<std::string>{"g +8080", "g synced"})) << "as soon as it is read";
  log_.clear();
  agent.frame(GuestGone{listens(22).listener.key});
  EXPECT_TRUE(tells({"g -22", "g synced"}));

  agent.frame(GuestHello{{9}, 0, ""});
  run_until([&] { return access_["g"]->way(error_number)->token == GuestToken{9}; });
  agent.hang_up();
  EXPECT_TRUE(tells({"g down 0 errno 0 status 0 version 1"}));
  EXPECT_EQ(way("g"), EAGAIN) << "it is worth waiting for the next session";
}

TEST_F(GuestsTest, BytesMayComeOneByOne) {
  Agent agent;
  guests_.open(agent.open("g"));
  const auto reply = encode(GuestReply{});
  Bytes all(reply.begin(), reply.end());
  for (const GuestFrame& frame : {GuestFrame(GuestHello{{1}, 250, "a"}), GuestFrame(listens(80)),
                                  GuestFrame(GuestSnapshotEnd{})})
    std::ranges::copy(encode(frame), std::back_inserter(all));
  for (const std::uint8_t byte : all) {
    agent.say({byte});
    g_main_context_iteration(nullptr, TRUE);
  }
  EXPECT_TRUE(tells({"g up a", "g +80", "g synced"}));
}

TEST_F(GuestsTest, RefusalsSayWhy) {
  struct Case {
    GuestReply reply;
    const char* told;
    int error_number;
  };
  const Case cases[] = {
      {{7, GuestStatus::version, 0, 0}, "g down 1 errno 0 status 2 version 7", EPROTONOSUPPORT},
      {{1, GuestStatus::not_privileged, 0, 0}, "g down 1 errno 0 status 3 version 1", EACCES},
      {{1, GuestStatus::busy, 0, 0}, "g down 1 errno 0 status 7 version 1", EBUSY},
  };
  for (const Case& one : cases) {
    Agent agent;
    guests_.open(agent.open("g"));
    agent.reply(one.reply);
    EXPECT_TRUE(tells({one.told}));
    EXPECT_EQ(way("g"), one.error_number);
  }
}

TEST_F(GuestsTest, WhatIsNotTheProtocolEndsTheSession) {
  const auto reply = encode(GuestReply{});
  Bytes good(reply.begin(), reply.end());
  std::ranges::copy(encode(GuestFrame(GuestHello{{1}, 0, "a"})), std::back_inserter(good));
  const Bytes hello_without_token = encode(GuestFrame(GuestHello{{}, 0, "a"}));
  const Bytes host_frame = encode(GuestFrame(GuestWants{}));
  Bytes no_hello(reply.begin(), reply.end());
  std::ranges::copy(encode(GuestFrame(listens(80))), std::back_inserter(no_hello));
  const auto with = [](Bytes bytes, const Bytes& more) {
    bytes.insert(bytes.end(), more.begin(), more.end());
    return bytes;
  };
  const std::string banner = "SSH-2.0-OpenSSH_9.2p1 Debian-2\r\n";
  for (const Bytes& said : {Bytes(banner.begin(), banner.end()), no_hello, with(good, {1, 1, 0, 0}),
                            with(good, {2, 0, 0xff, 0xff}), with(good, host_frame),
                            with(Bytes(reply.begin(), reply.end()), hello_without_token)}) {
    Agent agent;
    guests_.open(agent.open("g"));
    agent.say(said);
    run_until([&] { return !log_.empty() && log_.back().find("down") != std::string::npos; });
    EXPECT_EQ(log_.back().substr(0, 8), "g down 2");
    EXPECT_EQ(way("g"), EPROTO);
    log_.clear();
    run_until([&] { return agent.heard().empty(); });
    EXPECT_TRUE(agent.ended);
  }
}

TEST_F(GuestsTest, AnAgentThatHangsIsDown) {
  Agent agent;
  Agent half;
  guests_.open(agent.open("g"));
  guests_.open(half.open("h"));
  half.reply();
  const gint64 began = g_get_monotonic_time();
  EXPECT_TRUE(
      tells({"g down 0 errno 110 status 0 version 0", "h down 0 errno 110 status 0 version 1"}));
  EXPECT_GE(g_get_monotonic_time() - began,
            std::chrono::microseconds(GuestSession::hello_timeout).count() - 100'000);
}

TEST_F(GuestsTest, ANewSessionReplacesTheOneBefore) {
  Agent first;
  guests_.open(first.open("g"));
  first.greet({1});
  first.frame(listens(80, "a"));
  first.frame(listens(81, "a"));
  first.frame(GuestSnapshotEnd{});
  EXPECT_TRUE(tells({"g up agent 1", "g +80 a", "g +81 a", "g synced"}));

  Agent second;
  guests_.open(second.open("g"));
  EXPECT_EQ(way("g"), 0) << "the token of the same agent still holds";
  run_until([&] { return first.heard().empty() && first.ended; });
  second.greet({2});
  second.frame(listens(80, "a"));
  EXPECT_TRUE(tells({"g up agent 1"}));
  spin(std::chrono::milliseconds(20));
  EXPECT_TRUE(log_.empty()) << "what was told stands";
  second.frame(GuestSnapshotEnd{});
  EXPECT_TRUE(tells({"g -81", "g synced"}));

  // An agent at another address is another.
  Agent third;
  RelayGuestOpen elsewhere = third.open("g");
  elsewhere.agent = VsockEndpoint{4, guest_agent_port};
  guests_.open(std::move(elsewhere));
  EXPECT_EQ(way("g"), EAGAIN);
}

TEST_F(GuestsTest, ClosingForgetsEverything) {
  Agent agent;
  guests_.open(agent.open("g"));
  agent.greet();
  agent.frame(listens(80));
  agent.frame(GuestSnapshotEnd{});
  EXPECT_TRUE(tells({"g up agent 1", "g +80", "g synced"}));
  guests_.close("g");
  EXPECT_EQ(guests_.size(), 0u);
  EXPECT_EQ(way("g"), ENOTCONN);
  run_until([&] { return agent.heard().size() == 0 && agent.ended; });
  spin(std::chrono::milliseconds(20));
  EXPECT_TRUE(log_.empty());
}

TEST_F(GuestsTest, WhatIsWantedIsSaid) {
  Agent agent;
  guests_.open(agent.open("g"));
  agent.greet();
  GuestListens dns = listens(53);
  dns.listener.key.udp = true;
  agent.frame(dns);
  agent.frame(GuestSnapshotEnd{});
  EXPECT_TRUE(tells({"g up agent 1", "g synced"})) << "UDP that nobody asked for";
  agent.heard();
  guests_.wants({"g", true});
  Bytes heard;
  run_until([&] { return !(heard = agent.heard()).empty(); });
  EXPECT_EQ(heard, encode(GuestFrame(GuestWants{guest_wants_udp})));
  agent.frame(dns);
  EXPECT_TRUE(tells({"g +53/udp", "g synced"}));
  guests_.wants({"g", false});
  EXPECT_TRUE(tells({"g -53", "g synced"}));
}

TEST_F(GuestsTest, ADoubtedSessionIsMadeAnew) {
  Agent agent;
  guests_.open(agent.open("g"));
  agent.greet();
  EXPECT_TRUE(tells({"g up agent 1"}));
  int error_number = 0;
  const auto found = access_["g"]->way(error_number);
  ASSERT_TRUE(found);
  access_["g"]->doubt(*found);
  spin(std::chrono::milliseconds(1100));
  EXPECT_TRUE(log_.empty()) << "it is too young to be stale";
  AgentAccess::Way other = *found;
  other.number += 1;
  access_["g"]->doubt(other);
  spin(std::chrono::milliseconds(20));
  EXPECT_TRUE(log_.empty()) << "of another session";
  access_["g"]->doubt(*found);
  EXPECT_TRUE(tells({"g down 0 errno 116 status 0 version 1"}));
}

TEST_F(GuestsTest, ADaemonThatComesAnewIsToldEverything) {
  Agent agent;
  guests_.open(agent.open("g"));
  agent.greet();
  agent.frame(listens(80));
  agent.frame(GuestSnapshotEnd{});
  EXPECT_TRUE(tells({"g up agent 1", "g +80", "g synced"}));
  guests_.daemon_changed();
  agent.frame(listens(81));
  spin(std::chrono::milliseconds(20));
  EXPECT_TRUE(log_.empty()) << "the new daemon does not know this guest";
  EXPECT_EQ(way("g"), 0) << "connections go on being made";
  Agent again;
  guests_.open(again.open("g"));
  again.greet();
  again.frame(listens(80));
  again.frame(GuestSnapshotEnd{});
  EXPECT_TRUE(tells({"g up agent 1", "g +80", "g synced"}));
}

TEST_F(GuestsTest, ADaemonThatReadsSlowlyIsToldTheLastState) {
  Agent agent;
  guests_.open(agent.open("g"));
  agent.greet();
  EXPECT_TRUE(tells({"g up agent 1"}));
  takes_ = false;
  for (int i = 0; i < 200; ++i) {
    agent.frame(listens(80, std::to_string(i)));
    g_main_context_iteration(nullptr, FALSE);
  }
  agent.frame(GuestSnapshotEnd{});
  spin(std::chrono::milliseconds(150));
  EXPECT_TRUE(log_.empty());
  takes_ = true;
  guests_.tell_news();
  EXPECT_TRUE(tells({"g +80 199", "g synced"}));
}

// --- hostile agents

TEST_F(GuestsTest, EndlessFramesCostSoMuchATurn) {
  Agent hostile;
  guests_.open(hostile.open("bad"));
  hostile.greet();
  EXPECT_TRUE(tells({"bad up agent 1"}));
  // Empty frames of a kind that nobody knows.
  Bytes endless(64 << 10);
  for (std::size_t at = 0; at < endless.size(); at += 4)
    endless[at] = 200;
  std::size_t taken = 0;
  const gint64 began = g_get_monotonic_time();
  while (g_get_monotonic_time() - began < 500'000) {
    taken += hostile.say(endless) / 4 * 4;
    g_main_context_iteration(nullptr, FALSE);
  }
  const auto turns = static_cast<std::size_t>((g_get_monotonic_time() - began) / 100'000) + 2;
  const std::size_t in_sockets = 1 << 20;
  EXPECT_LE(taken,
            GuestSession::first_account_cost + turns * GuestSession::cost_per_turn + in_sockets);

  // Another guest notices nothing.
  Agent honest;
  guests_.open(honest.open("good"));
  honest.greet();
  honest.frame(listens(80));
  honest.frame(GuestSnapshotEnd{});
  EXPECT_TRUE(tells({"good up agent 1", "good +80", "good synced"}));
}

// A service that ends as it begins: in one read, with nothing else to tell.
TEST_F(GuestsTest, WhatComesAndGoesUnseenIsNotTold) {
  Agent agent;
  guests_.open(agent.open("g"));
  agent.greet();
  agent.frame(GuestSnapshotEnd{});
  EXPECT_TRUE(tells({"g up agent 1", "g synced"}));
  Bytes both = encode(GuestFrame(listens(4000)));
  std::ranges::copy(encode(GuestFrame(GuestGone{listens(4000).listener.key})),
                    std::back_inserter(both));
  EXPECT_EQ(agent.say(both), both.size());
  spin(std::chrono::milliseconds(100));
  agent.frame(listens(80));
  EXPECT_TRUE(tells({"g +80", "g synced"}));
}

// Ten thousand ports a second, ports that flap, and names of ten megabytes.
TEST_F(GuestsTest, ChangesAreToldSoManyATurn) {
  Agent hostile;
  guests_.open(hostile.open("bad"));
  hostile.greet();
  hostile.frame(GuestSnapshotEnd{});
  EXPECT_TRUE(tells({"bad up agent 1", "bad synced"}));
  told_ = 0;
  unsigned port = 0;
  Bytes unsent;
  const gint64 began = g_get_monotonic_time();
  // A second, and on a busy machine until there was more than a turn may tell.
  while (g_get_monotonic_time() - began < 1'000'000 ||
         (synced_.slowed == 0 && g_get_monotonic_time() - began < 20'000'000)) {
    if (unsent.size() < 4096)
      for (int i = 0; i < 2000; ++i) {  // more than a turn may tell
        port = port % 65535 + 1;
        const std::string name(60, static_cast<char>('a' + port % 26));
        std::ranges::copy(encode(GuestFrame(listens(port, name))), std::back_inserter(unsent));
        if (port > 500)
          std::ranges::copy(encode(GuestFrame(GuestGone{listens(port - 500).listener.key})),
                            std::back_inserter(unsent));
      }
    const std::size_t sent = hostile.say(unsent);
    unsent.erase(unsent.begin(), unsent.begin() + static_cast<std::ptrdiff_t>(sent));
    g_main_context_iteration(nullptr, FALSE);
  }
  const auto turns = static_cast<std::size_t>((g_get_monotonic_time() - began) / 100'000) + 2;
  EXPECT_LE(told_, turns * (Guests::told_per_turn + 1));
  EXPECT_GT(told_, Guests::told_per_turn) << "it goes on";
  EXPECT_GT(synced_.slowed, 0u) << "and the daemon learns of it";
}

TEST_F(GuestsTest, AnAgentThatNeverReadsHoldsNothingUp) {
  Agent mute;
  guests_.open(mute.open("g"));
  mute.greet();
  EXPECT_TRUE(tells({"g up agent 1"}));
  for (int i = 0; i < 200'000; ++i)
    guests_.wants({"g", i % 2 == 0});
  mute.frame(listens(80));
  mute.frame(GuestSnapshotEnd{});
  EXPECT_TRUE(tells({"g +80", "g synced"}));
  std::size_t heard = 0;
  run_until([&] {
    heard += mute.heard().size();
    return heard > GuestRequest::bytes;
  });
}

TEST_F(GuestsTest, RawRepliesOfAnotherAgentCountAsWell) {
  EXPECT_TRUE(guests_.take({"g", 1, RelayAgentStep::number, "{\"return\": 5}"}).understood);
  EXPECT_EQ(guests_.size(), 0u);
  EXPECT_FALSE(guests_.take({"g", 1, RelayAgentStep::end, ""}).understood) << "it has not begun";
  EXPECT_TRUE(guests_.take({"g", 2, RelayAgentStep::begin, ""}).understood);
  const RelayAgentAnswer answer = guests_.take({"g", 3, RelayAgentStep::number, "{\"return\": 5}"});
  EXPECT_TRUE(answer.understood);
  EXPECT_TRUE(answer.guest == "g" && answer.sequence == 3 && answer.number == 5);
  // "0: 0100007F:0050 00000000:0000 0A 0 0 0 0"
  const char* const chunk = R"({"return": {"count": 42, "eof": true, "buf-b64": )"
                            R"("MDogMDEwMDAwN0Y6MDA1MCAwMDAwMDAwMDowMDAwIDBBIDAgMCAwIDAK"}})";
  EXPECT_EQ(guests_.take({"g", 4, RelayAgentStep::tcp4, chunk}).number, 1);
  guests_.tell_news();
  EXPECT_TRUE(guests_.take({"g", 5, RelayAgentStep::end, ""}).understood);
  guests_.tell_news();
  EXPECT_TRUE(tells({"g +80", "g synced"}));

  // The real agent takes over: what it does not name is gone.
  Agent agent;
  guests_.open(agent.open("g"));
  agent.greet();
  agent.frame(listens(22));
  agent.frame(GuestSnapshotEnd{});
  EXPECT_TRUE(tells({"g up agent 1", "g +22", "g -80", "g synced"}));
}

}  // namespace
}  // namespace vf
