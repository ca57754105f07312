// SPDX-License-Identifier: LGPL-2.1-or-later
//
// The descriptors, timers and unfinished work of one relay thread: one epoll descriptor behind one
// GSource, so that ten thousand idle connections cost poll() nothing. Everything here belongs to
// the thread that runs the GMainContext.

#pragma once

#include <glib.h>

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <set>
#include <vector>

#include "base/fd.h"
#include "base/result.h"
#include "relay/buffer_pool.h"

namespace vf {

class Loop;

// Something that a Loop calls. It must be retired, or not watched any more, before it goes.
class Handler {
 public:
  virtual ~Handler() = default;
  Handler() = default;
  Handler(const Handler&) = delete;
  Handler& operator=(const Handler&) = delete;

  // `events` as epoll_wait() has them.
  virtual void ready(std::uint32_t events) = 0;
};

// A turn's work that was left over for the next, so that others come in between.
class Task {
 public:
  virtual ~Task() = default;
  virtual void run() = 0;

 private:
  friend class Loop;
  bool queued_ = false;
};

// Calls once at its time. Disarmed by its destruction; arming again moves it.
class Timer {
 public:
  explicit Timer(Loop& loop) : loop_(loop) {}
  virtual ~Timer();
  Timer(const Timer&) = delete;
  Timer& operator=(const Timer&) = delete;

  void arm(std::chrono::microseconds delay);
  void disarm();

 protected:
  virtual void expired() = 0;

 private:
  friend class Loop;
  Loop& loop_;
  gint64 deadline_ = 0;  // 0: not armed
};

class Loop {
 public:
  // Null context: the thread's default.
  static Result<std::unique_ptr<Loop>> create(GMainContext* context);
  ~Loop();
  Loop(const Loop&) = delete;
  Loop& operator=(const Loop&) = delete;

  // epoll_ctl(). A descriptor must be taken out, or closed as the last of its description, before
  // its handler goes.
  Result<void> watch(int fd, std::uint32_t events, Handler& handler);
  void change(int fd, std::uint32_t events, Handler& handler);
  void unwatch(int fd);

  // Runs the task in the next turn, once.
  void again(Task& task);
  // The task is about to go.
  void forget(Task& task);

  // Destroys the object at the end of the turn: events for it may be on their way.
  template <typename T>
  void retire(std::unique_ptr<T> object) {
    retired_.push_back(std::shared_ptr<void>(std::move(object)));
  }

  // How many events and tasks this turn has: what a budget is divided by.
  std::size_t crowd() const { return crowd_; }
  BufferPool& buffers() { return buffers_; }
  // g_get_monotonic_time() of this turn's begin.
  gint64 now() const { return now_; }

 private:
  friend class Timer;
  struct LoopSource;

  explicit Loop(Fd epoll) : epoll_(std::move(epoll)) {}
  void turn();
  // Milliseconds until the next turn is due by itself; -1: never.
  int wait_at_most() const;

  Fd epoll_;
  GSource* source_ = nullptr;
  BufferPool buffers_;
  std::vector<Task*> tasks_;
  std::vector<std::shared_ptr<void>> retired_;
  std::set<std::pair<gint64, Timer*>> timers_;
  gpointer epoll_tag_ = nullptr;
  gint64 now_ = 0;
  std::size_t crowd_ = 0;
};

}  // namespace vf
