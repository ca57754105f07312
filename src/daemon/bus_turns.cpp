// SPDX-License-Identifier: LGPL-2.1-or-later

#include "daemon/bus_turns.h"

#include <vector>

namespace vf {

bool BusTurns::add(const Caller& caller, std::function<void()> handle) {
  auto& calls = waiting_[caller];
  if (calls.size() >= most_of_one_) return false;
  calls.push_back(std::move(handle));
  if (!next_) next_ = after(std::chrono::milliseconds(0), [this] { turn(); });
  return true;
}

void BusTurns::forget(GDBusConnection* connection) {
  std::erase_if(waiting_, [&](const auto& entry) { return entry.first.first == connection; });
}

void BusTurns::turn() {
  next_.reset();
  std::vector<std::function<void()>> now;
  for (auto caller = waiting_.begin(); caller != waiting_.end();) {
    now.push_back(std::move(caller->second.front()));
    caller->second.pop_front();
    caller = caller->second.empty() ? waiting_.erase(caller) : std::next(caller);
  }
  if (!waiting_.empty()) next_ = after(std::chrono::milliseconds(0), [this] { turn(); });
  for (const auto& handle : now)
    handle();
}

}  // namespace vf
