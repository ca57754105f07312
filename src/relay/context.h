// SPDX-License-Identifier: LGPL-2.1-or-later

#pragma once

#include <atomic>
#include <cstddef>
#include <string>

#include "relay/loop.h"

namespace vf {

// What forwards tell about themselves, on the thread that carries them.
class RelayEvents {
 public:
  virtual ~RelayEvents() = default;
  virtual void proven(const std::string& key) = 0;
  virtual void failing(const std::string& key, int error_number) = 0;
};

// How many descriptors forwards and their connections may hold, so that some are left for taking
// new listeners in. Any thread.
class DescriptorBudget {
 public:
  explicit DescriptorBudget(std::size_t limit) : limit_(limit) {}

  bool take(std::size_t count) {
    if (used_.fetch_add(count, std::memory_order_relaxed) + count <= limit_) return true;
    give_back(count);
    return false;
  }
  // Whatever the limit: for what is there already.
  void take_anyway(std::size_t count) { used_.fetch_add(count, std::memory_order_relaxed); }
  void give_back(std::size_t count) { used_.fetch_sub(count, std::memory_order_relaxed); }

 private:
  const std::size_t limit_;
  std::atomic<std::size_t> used_{0};
};

// What every forward of a relay thread shares. Outlives them.
struct RelayContext {
  Loop& loop;
  DescriptorBudget& descriptors;
  RelayEvents& events;
};

}  // namespace vf
