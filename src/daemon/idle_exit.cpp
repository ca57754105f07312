// SPDX-License-Identifier: LGPL-2.1-or-later

#include "daemon/idle_exit.h"

#include <algorithm>
#include <utility>

namespace vf {
namespace {

using std::chrono::milliseconds;

gint64 microseconds(milliseconds time) {
  return std::chrono::microseconds(time).count();
}

}  // namespace

IdleExit::IdleExit(milliseconds patience, std::function<bool()> needed, std::function<void()> end)
    : patience_(patience), needed_(std::move(needed)), end_(std::move(end)) {
  timer_ = every(std::max(patience_ / 4, milliseconds(10)), [this] { look(); });
}

void IdleExit::hold(const std::string& key, milliseconds time) {
  held_until_[key] = g_get_monotonic_time() + microseconds(time);
}

void IdleExit::look() {
  const gint64 now = g_get_monotonic_time();
  std::erase_if(held_until_, [now](const auto& one) { return one.second <= now; });
  if (needed_() || !held_until_.empty()) needed_until_ = now;
  if (now - needed_until_ < microseconds(patience_)) return;
  timer_.reset();
  end_();
}

bool domains_need_daemon(const Model& model, bool woken) {
  const auto domains = model.domains();
  return std::ranges::any_of(domains,
                             [woken](const DomainView& domain) { return domain.active || !woken; });
}

}  // namespace vf
