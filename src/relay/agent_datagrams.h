// SPDX-License-Identifier: LGPL-2.1-or-later

#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "base/fd.h"
#include "relay/agent_call.h"
#include "relay/context.h"
#include "relay/loop.h"

namespace vf {

// One client's datagrams on a stream to a guest's agent, each with its length in front. What there
// is no room for is lost, as on any way of datagrams. To be retired.
class AgentDatagrams final : private Handler, private Timer {
 public:
  static constexpr std::size_t max_datagram_bytes = 65'507;
  // Of what the agent has not taken yet, but for one datagram, which may be larger.
  static constexpr std::size_t max_held_bytes = 32 << 10;
  static constexpr std::chrono::seconds answer_timeout{5};

  class Owner {
   public:
    virtual ~Owner() = default;
    virtual void came(std::span<const std::uint8_t> datagram) = 0;
    // The last word, and why: nothing may be put afterwards. ENOTCONN: the agent has gone.
    virtual void failed(int error_number) = 0;
  };

  AgentDatagrams(RelayContext& context, AgentAccess& access, Owner& owner);
  ~AgentDatagrams() override = default;

  // 0, or why there is no way.
  int start(const AgentEndpoint& target);
  // Lets go of the connection.
  void stop();
  // False: it is lost.
  bool put(std::span<const std::uint8_t> datagram);

 private:
  enum class State : std::uint8_t { connecting, asking, open, ended };

  void ready(std::uint32_t events) override;
  void expired() override { end(ETIMEDOUT); }
  void ask();
  void receive();
  bool take_datagrams();
  void send();
  void end(int error_number);

  RelayContext& context_;
  AgentAccess& access_;
  Owner& owner_;
  Fd fd_;
  std::unique_ptr<AgentCall> call_;
  State state_ = State::connecting;
  bool writable_ = false;
  std::vector<std::uint8_t> out_;
  std::vector<std::uint8_t> in_;
};

}  // namespace vf
