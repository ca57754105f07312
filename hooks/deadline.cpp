// SPDX-License-Identifier: LGPL-2.1-or-later

#include "hooks/deadline.h"

#include <poll.h>

#include <algorithm>
#include <cerrno>
#include <ctime>

namespace vf {
namespace {

timespec to_timespec(std::chrono::nanoseconds time) {
  const auto count = std::max<std::chrono::nanoseconds::rep>(time.count(), 0);
  return {static_cast<time_t>(count / 1'000'000'000), static_cast<long>(count % 1'000'000'000)};
}

}  // namespace

Deadline Deadline::after(std::chrono::milliseconds delay) {
  return Deadline(Clock::now() + delay);
}

bool Deadline::over() const {
  return Clock::now() >= moment_;
}

Deadline Deadline::within(std::chrono::milliseconds delay) const {
  return Deadline(std::min(moment_, Clock::now() + delay));
}

bool Deadline::wait(int fd, short events) const {
  while (true) {
    pollfd watched{fd, events, 0};
    const timespec left = to_timespec(moment_ - Clock::now());
    const int ready = ppoll(&watched, 1, &left, nullptr);
    if (ready > 0) return true;
    if (ready == 0 || errno != EINTR) return false;
  }
}

void Deadline::pause(std::chrono::milliseconds delay) const {
  const timespec rest =
      to_timespec(std::min<std::chrono::nanoseconds>(delay, moment_ - Clock::now()));
  nanosleep(&rest, nullptr);
}

}  // namespace vf
