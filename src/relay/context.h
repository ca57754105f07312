// SPDX-License-Identifier: LGPL-2.1-or-later

#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>

#include "relay/loop.h"

namespace vf {

// What forwards tell about themselves, on the thread that carries them.
class RelayEvents {
 public:
  virtual ~RelayEvents() = default;
  virtual void proven(const std::string& key, std::size_t endpoint) = 0;
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

struct MovingConnection;

// The threads of a relay come in pairs, for the kernel runs a thread at once that has slept much:
// the swift lane accepts and answers what is small, the bulk lane carries what takes its time. A
// connection changes lanes as it shows what it is.
class Lane {
 public:
  virtual ~Lane() = default;
  // Any thread.
  virtual void take(MovingConnection connection) = 0;
};

// When somebody last wanted a quick answer: common to the two lanes of a pair.
class Hurry {
 public:
  void note(gint64 now) { noted_.store(now, std::memory_order_relaxed); }
  bool lately(gint64 now) const { return now - noted_.load(std::memory_order_relaxed) < lasts; }

 private:
  static constexpr gint64 lasts = 1000;  // microseconds
  std::atomic<gint64> noted_{0};
};

// What every forward of a relay thread shares. Outlives them.
struct RelayContext {
  Loop& loop;
  DescriptorBudget& descriptors;
  RelayEvents& events;
  std::shared_ptr<Hurry> hurry = std::make_shared<Hurry>();
  bool carries_bulk = false;   // which lane this is
  Lane* other_lane = nullptr;  // null: everything is carried here
  std::uint64_t refused = 0;   // as RelayLaneStatistics has them
  std::uint64_t lost = 0;
};

}  // namespace vf
