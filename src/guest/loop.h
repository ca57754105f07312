// SPDX-License-Identifier: LGPL-2.1-or-later
//
// Descriptors, timers and unfinished work of the agent's one thread, without GLib. Nothing of it
// costs anything while nothing happens.

#pragma once

#include <sys/epoll.h>

#include <chrono>
#include <cstdint>
#include <memory>
#include <set>
#include <utility>
#include <vector>

#include "base/fd.h"
#include "base/result.h"

namespace vf::guest {

using Clock = std::chrono::steady_clock;

class Loop;

// What a descriptor's events are told to. It must be retired, or its descriptor unwatched before
// the round, when it goes.
class Handler {
 public:
  virtual ~Handler() = default;
  Handler() = default;
  Handler(const Handler&) = delete;
  Handler& operator=(const Handler&) = delete;

  // `events` as epoll_wait() has them.
  virtual void ready(std::uint32_t events) = 0;
};

// Calls once at its time. Arming again moves it.
class Timer {
 public:
  explicit Timer(Loop& loop) : loop_(loop) {}
  virtual ~Timer() { disarm(); }
  Timer(const Timer&) = delete;
  Timer& operator=(const Timer&) = delete;

  void arm(std::chrono::microseconds delay);
  void disarm();
  bool armed() const { return armed_; }

 protected:
  virtual void expired() = 0;

 private:
  friend class Loop;
  Loop& loop_;
  Clock::time_point deadline_{};
  bool armed_ = false;
};

class Loop {
 public:
  static Result<std::unique_ptr<Loop>> create();

  // epoll_ctl(). False where the kernel refuses.
  [[nodiscard]] bool watch(int fd, std::uint32_t events, Handler& handler);
  void change(int fd, std::uint32_t events, Handler& handler);
  void unwatch(int fd);

  // Destroys the object at the end of the round: events for it may be on their way.
  template <typename T>
  void retire(std::unique_ptr<T> object) {
    retired_.push_back(std::shared_ptr<void>(std::move(object)));
  }

  // Until stop().
  void run();
  void stop() { stopped_ = true; }
  // Waits for events, at most so long (-1: without bound), and handles them.
  void round(int most_ms);

 private:
  friend class Timer;
  explicit Loop(Fd epoll) : epoll_(std::move(epoll)) {}
  int wait_at_most() const;

  Fd epoll_;
  std::set<std::pair<Clock::time_point, Timer*>> timers_;
  std::vector<std::shared_ptr<void>> retired_;
  bool stopped_ = false;
};

}  // namespace vf::guest
