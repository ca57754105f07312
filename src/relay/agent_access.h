// SPDX-License-Identifier: LGPL-2.1-or-later

#pragma once

#include <glib.h>

#include <atomic>
#include <cstdint>
#include <functional>
#include <mutex>
#include <optional>

#include "base/relay_endpoint.h"
#include "wire/guest.h"

namespace vf {

// How the connections of a domain's forwards reach its guest's agent: what the guest's session has
// found out, for all threads. Asked once for each connection, so a lock does.
class AgentAccess {
 public:
  struct Way {
    RelayEndpoint agent;
    GuestToken token;
    std::uint64_t number;  // of the session
    std::uint64_t life;    // of the agent, see life()
  };

  // While a session is being made, or made anew, it is worth waiting for so long.
  static constexpr gint64 worth_waiting = 10 * G_USEC_PER_SEC;

  // The way, or why there is none: EAGAIN where it is worth waiting for.
  std::optional<Way> way(int& error_number) const;
  // The agent at the end of this way did not answer, or did not know the token: it was begun anew.
  void doubt(const Way& way);

  // --- by the session

  // The way is open. `on_doubt` is called on any thread, once, and must not call back.
  void open(RelayEndpoint agent, const GuestToken& token, std::function<void()> on_doubt);
  // There is none for now.
  void await();
  // There is none: errno.
  void close(int error_number);
  // Which life the agent is in: each has a token of its own. What an earlier one carried has ended,
  // though a guest that was reset tells nobody.
  std::uint64_t life() const { return life_.load(std::memory_order_relaxed); }
  // Whether the way that is open goes to this agent.
  bool leads_to(const RelayEndpoint& agent) const;

 private:
  mutable std::mutex mutex_;
  std::optional<Way> way_;
  std::uint64_t number_ = 0;
  GuestToken last_token_{};
  std::atomic<std::uint64_t> life_{0};
  int error_number_ = 0;  // 0: it is awaited
  gint64 awaited_since_ = g_get_monotonic_time();
  gint64 opened_ = 0;
  std::function<void()> on_doubt_;
};

}  // namespace vf
