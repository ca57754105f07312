// SPDX-License-Identifier: LGPL-2.1-or-later

#pragma once

#include <chrono>

namespace vf {

// A moment on the monotonic clock that all waiting of a hook stays before.
class Deadline {
 public:
  static Deadline after(std::chrono::milliseconds delay);

  bool over() const;
  // The earlier of this one and `delay` from now.
  Deadline within(std::chrono::milliseconds delay) const;
  // Until `fd` has one of `events`, an error or a hang-up; false at the deadline.
  bool wait(int fd, short events) const;
  // Sleeps, at most to the deadline.
  void pause(std::chrono::milliseconds delay) const;

 private:
  using Clock = std::chrono::steady_clock;
  explicit Deadline(Clock::time_point moment) : moment_(moment) {}
  Clock::time_point moment_;
};

}  // namespace vf
