// SPDX-License-Identifier: LGPL-2.1-or-later
//
// The relay's end of the control streams, and the agent's, played by the test.

#pragma once

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/socket.h>

#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "loopback.h"
#include "relay/guests.h"
#include "wire/guest.h"

namespace vf {

using test::run_until;
using Bytes = std::vector<std::uint8_t>;

inline const RelayEndpoint agent_address = VsockEndpoint{3, guest_agent_port};

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

inline GuestListens listens(unsigned port, const std::string& name = "") {
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

}  // namespace vf
