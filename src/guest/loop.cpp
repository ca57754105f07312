// SPDX-License-Identifier: LGPL-2.1-or-later

#include "guest/loop.h"

#include <algorithm>
#include <cerrno>

namespace vf::guest {
namespace {

constexpr int events_per_round = 64;

}  // namespace

void Timer::arm(std::chrono::microseconds delay) {
  disarm();
  deadline_ = Clock::now() + delay;
  armed_ = true;
  loop_.timers_.emplace(deadline_, this);
}

void Timer::disarm() {
  if (std::exchange(armed_, false)) loop_.timers_.erase({deadline_, this});
}

Result<std::unique_ptr<Loop>> Loop::create() {
  Fd epoll(epoll_create1(EPOLL_CLOEXEC));
  if (!epoll) return Unexpected(system_error(errno, "epoll_create1"));
  return std::unique_ptr<Loop>(new Loop(std::move(epoll)));
}

bool Loop::watch(int fd, std::uint32_t events, Handler& handler) {
  epoll_event event{};
  event.events = events;
  event.data.ptr = &handler;
  return epoll_ctl(epoll_.get(), EPOLL_CTL_ADD, fd, &event) == 0;
}

void Loop::change(int fd, std::uint32_t events, Handler& handler) {
  epoll_event event{};
  event.events = events;
  event.data.ptr = &handler;
  epoll_ctl(epoll_.get(), EPOLL_CTL_MOD, fd, &event);
}

void Loop::unwatch(int fd) {
  epoll_ctl(epoll_.get(), EPOLL_CTL_DEL, fd, nullptr);
}

// Rounded up: a timer that is a little early would make the loop spin.
int Loop::wait_at_most() const {
  if (timers_.empty()) return -1;
  const auto left =
      std::chrono::ceil<std::chrono::milliseconds>(timers_.begin()->first - Clock::now());
  return static_cast<int>(std::clamp<std::int64_t>(left.count(), 0, 1 << 30));
}

void Loop::round(int most_ms) {
  const int due = wait_at_most();
  const int wait = due < 0 ? most_ms : most_ms < 0 ? due : std::min(due, most_ms);
  epoll_event events[events_per_round];
  const int count = epoll_wait(epoll_.get(), events, events_per_round, wait);
  for (int at = 0; at < count; ++at)
    static_cast<Handler*>(events[at].data.ptr)->ready(events[at].events);

  // Those that are armed meanwhile have their turn in the next round.
  const auto now = Clock::now();
  for (auto most = timers_.size(); most > 0; --most) {
    if (timers_.empty() || timers_.begin()->first > now) break;
    Timer& timer = *timers_.begin()->second;
    timer.disarm();
    timer.expired();
  }
  while (!retired_.empty()) {
    const auto gone = std::exchange(retired_, {});
  }
}

void Loop::run() {
  while (!stopped_)
    round(-1);
}

}  // namespace vf::guest
