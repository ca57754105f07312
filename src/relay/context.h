// SPDX-License-Identifier: LGPL-2.1-or-later

#pragma once

#include <cstddef>
#include <string>

#include "relay/loop.h"

namespace vf {

// What forwards tell about themselves.
class RelayEvents {
 public:
  virtual ~RelayEvents() = default;
  virtual void proven(const std::string& key) = 0;
  virtual void failing(const std::string& key, int error_number) = 0;
};

// How many descriptors forwards and their connections may hold, so that some are left for taking
// new listeners in.
class DescriptorBudget {
 public:
  explicit DescriptorBudget(std::size_t limit) : limit_(limit) {}

  bool take(std::size_t count) {
    if (used_ + count > limit_) return false;
    used_ += count;
    return true;
  }
  // Whatever the limit: for what is there already.
  void take_anyway(std::size_t count) { used_ += count; }
  void give_back(std::size_t count) { used_ -= count; }

 private:
  std::size_t limit_;
  std::size_t used_ = 0;
};

// What every forward of a relay shares. Outlives them.
struct RelayContext {
  Loop& loop;
  DescriptorBudget& descriptors;
  RelayEvents& events;
};

}  // namespace vf
