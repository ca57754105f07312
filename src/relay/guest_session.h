// SPDX-License-Identifier: LGPL-2.1-or-later

#pragma once

#include <glib.h>

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <vector>

#include "base/fd.h"
#include "glib/source.h"
#include "relay/agent_access.h"
#include "relay/listener_ledger.h"
#include "wire/guest.h"
#include "wire/relay.h"

namespace vf {

// The control stream to the agent of a guest. It keeps the agent's token in AgentAccess and what
// listens in the ledger. The agent is taken for hostile: what it sends costs a bounded amount of
// memory, and of time too, for past a bound it is not read for a while.
class GuestSession {
 public:
  static constexpr std::chrono::milliseconds hello_timeout{5000};
  // What is read, with the work that frames are, in so much time, behind a first account.
  static constexpr std::chrono::milliseconds turn{100};
  static constexpr std::size_t cost_per_turn = 64 << 10;
  static constexpr std::size_t first_account_cost = 2 << 20;

  class Observer {
   public:
    virtual ~Observer() = default;
    // Once, before any listener.
    virtual void up(const GuestHello& hello) = 0;
    // The ledger has changed.
    virtual void news() = 0;
    // The last word; may destroy the session. `guest` is not filled in.
    virtual void down(RelayGuestDown why) = 0;
  };

  // `control` is connected; nothing was said on it.
  GuestSession(Fd control, RelayEndpoint agent, bool wants_udp, std::shared_ptr<AgentAccess> access,
               ListenerLedger& ledger, Observer& observer, GMainContext* context);
  // Leaves the access as it is.
  ~GuestSession() = default;
  GuestSession(const GuestSession&) = delete;
  GuestSession& operator=(const GuestSession&) = delete;

  void wants(bool udp);

 private:
  enum class State : std::uint8_t { asking, greeting, up, ended };

  void send();
  void listen();
  void read();
  // False when the session has ended.
  bool take(std::span<const std::uint8_t> bytes);
  bool take_reply(std::span<const std::uint8_t>& bytes);
  bool take_frame(GuestFrame frame);
  bool greet(GuestHello hello);
  bool may_read();
  void end(RelayGuestFault fault, int error_number);
  bool not_understood();

  Fd control_;
  const RelayEndpoint agent_;
  bool wants_udp_;
  const std::shared_ptr<AgentAccess> access_;
  ListenerLedger& ledger_;
  Observer& observer_;
  GMainContext* const context_;

  State state_ = State::asking;
  std::vector<std::uint8_t> unsent_;
  bool says_wants_ = false;  // when there is room
  std::array<std::uint8_t, GuestReply::bytes> reply_{};
  std::size_t replied_ = 0;
  GuestReply understood_;
  GuestFrameReader frames_;
  gint64 turn_began_ = 0;
  std::size_t allowance_ = first_account_cost;
  Source readable_;
  Source writable_;
  Source pause_;
  Source deadline_;
  Source heartbeat_;
  // Expires with this object.
  std::shared_ptr<int> alive_ = std::make_shared<int>(0);
};

}  // namespace vf
