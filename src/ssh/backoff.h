// SPDX-License-Identifier: LGPL-2.1-or-later

#pragma once

#include <algorithm>
#include <chrono>

namespace vf {

// How long to wait before the next attempt: twice as long each time, from `first` to `longest`;
// anew after one that lasted.
class Backoff {
 public:
  using Time = std::chrono::milliseconds;

  Backoff(Time first, Time longest, Time steady)
      : first_(first), longest_(longest), steady_(steady) {}

  // After an attempt that was good for so long.
  Time next(Time good_for) {
    if (good_for >= steady_) reset();
    delay_ = std::clamp(delay_ * 2, first_, longest_);
    return delay_;
  }
  void reset() { delay_ = Time(0); }

 private:
  Time first_;
  Time longest_;
  Time steady_;
  Time delay_{0};
};

}  // namespace vf
