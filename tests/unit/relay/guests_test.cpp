// SPDX-License-Identifier: LGPL-2.1-or-later
//
// Control streams with agents that keep to the protocol, and with some that do not.

#include <algorithm>
#include <cerrno>

#include "guests_lab.h"

namespace vf {
namespace {

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
