// SPDX-License-Identifier: LGPL-2.1-or-later

#pragma once

#include <glib.h>

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
  // Whether the way that is open goes to this agent.
  bool leads_to(const RelayEndpoint& agent) const;

 private:
  mutable std::mutex mutex_;
  std::optional<Way> way_;
  std::uint64_t number_ = 0;
  int error_number_ = 0;  // 0: it is awaited
  gint64 awaited_since_ = g_get_monotonic_time();
  gint64 opened_ = 0;
  std::function<void()> on_doubt_;
};

}  // namespace vf
