// SPDX-License-Identifier: LGPL-2.1-or-later

#include "relay/agent_access.h"

#include <cerrno>
#include <utility>

namespace vf {
namespace {

// An agent that knows no token makes no more sessions than one in this time.
constexpr gint64 doubted_after = G_USEC_PER_SEC;

}  // namespace

std::optional<AgentAccess::Way> AgentAccess::way(int& error_number) const {
  const std::lock_guard lock(mutex_);
  if (way_) return way_;
  if (error_number_ != 0)
    error_number = error_number_;
  else
    error_number = g_get_monotonic_time() - awaited_since_ < worth_waiting ? EAGAIN : ENOTCONN;
  return std::nullopt;
}

void AgentAccess::doubt(const Way& way) {
  const std::lock_guard lock(mutex_);
  if (!way_ || way_->number != way.number || !on_doubt_) return;
  if (g_get_monotonic_time() - opened_ < doubted_after) return;
  std::exchange(on_doubt_, {})();
}

void AgentAccess::open(RelayEndpoint agent, const GuestToken& token,
                       std::function<void()> on_doubt) {
  const std::lock_guard lock(mutex_);
  if (std::exchange(last_token_, token) != token) life_.fetch_add(1, std::memory_order_relaxed);
  way_ = Way{std::move(agent), token, ++number_, life()};
  opened_ = g_get_monotonic_time();
  on_doubt_ = std::move(on_doubt);
}

void AgentAccess::await() {
  const std::lock_guard lock(mutex_);
  if (way_ || error_number_ != 0 || on_doubt_) awaited_since_ = g_get_monotonic_time();
  way_.reset();
  error_number_ = 0;
  on_doubt_ = {};
}

void AgentAccess::close(int error_number) {
  const std::lock_guard lock(mutex_);
  way_.reset();
  error_number_ = error_number;
  on_doubt_ = {};
}

bool AgentAccess::leads_to(const RelayEndpoint& agent) const {
  const std::lock_guard lock(mutex_);
  return way_ && way_->agent == agent;
}

}  // namespace vf
