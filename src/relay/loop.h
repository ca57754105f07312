// SPDX-License-Identifier: LGPL-2.1-or-later
//
// The descriptors, timers and unfinished work of one relay thread: one epoll descriptor behind one
// GSource, so that ten thousand idle connections cost poll() nothing. Everything here belongs to
// the thread that runs the GMainContext.
//
// The context's poll function is replaced by one that waits in epoll itself, where GLib's wake-up
// descriptor is watched as well: one system call a turn, where poll() and then epoll_wait() would
// be two, and the sender of a byte wakes the thread that will read it without another wait queue in
// between. A context that has more descriptors than these two is polled as ever.
//
// Small work first: what has come is answered before any bulk transfer, which runs as a Task, goes
// on; between two steps of a bulk transfer the loop looks for what has come meanwhile.

#pragma once

#include <glib.h>
#include <sys/epoll.h>

#include <array>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <set>
#include <vector>

#include "base/fd.h"
#include "base/result.h"
#include "flow/buffer_pool.h"
#include "wire/relay.h"

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

// Durations of a loop's rounds. The end of one is the begin of the next, where that follows at
// once, so it costs one look at the clock each time that the thread was woken.
struct RoundTimes {
  std::uint64_t microseconds = 0;  // of all together
  decltype(RelayLaneStatistics::rounds) rounds{};

  void add(std::uint64_t duration) {
    microseconds += duration;
    std::size_t at = 0;
    while (at < RelayLaneStatistics::bounds.size() && duration > RelayLaneStatistics::bounds[at])
      ++at;
    ++rounds[at];
  }
};

class Loop {
 public:
  // Null context: the thread's default. To be called on the thread that runs it; one for a thread.
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

  // Destroys the object later, events for it may be on their way: when a round has found nothing to
  // do, or many have gathered.
  template <typename T>
  void retire(std::unique_ptr<T> object) {
    retired_.push_back(std::shared_ptr<void>(std::move(object)));
  }

  // Counts looks at what has come.
  std::uint64_t rounds() const { return rounds_; }
  // How long rounds took: what comes during one waits for its end.
  const RoundTimes& round_times() const { return round_times_; }
  BufferPool& buffers() { return buffers_; }
  // g_get_monotonic_time() of this round's begin.
  gint64 now() const { return now_; }

 private:
  friend class Timer;
  struct LoopSource;
  // GLib's wake-up descriptor.
  struct WakeUp final : Handler {
    void ready(std::uint32_t) override { rung = true; }
    int fd = -1;
    bool rung = false;
  };

  static constexpr int events_per_round = 256;
  static constexpr std::size_t max_retired = 64;

  explicit Loop(Fd epoll) : epoll_(std::move(epoll)) {}
  static gint wait_in_epoll(GPollFD* descriptors, guint count, gint timeout) noexcept;
  bool watches(int wake_up);
  // Waits for events, which round() then handles.
  void collect(int timeout);
  void turn();
  void round();
  // Milliseconds until the next turn is due by itself; -1: never.
  int wait_at_most() const;

  Fd epoll_;
  GSource* source_ = nullptr;
  BufferPool buffers_;
  std::vector<Task*> tasks_;
  std::vector<std::shared_ptr<void>> retired_;
  std::set<std::pair<gint64, Timer*>> timers_;
  gpointer epoll_tag_ = nullptr;
  GMainContext* context_ = nullptr;
  GPollFunc poll_before_ = nullptr;
  WakeUp wake_up_;
  std::array<epoll_event, events_per_round> events_;
  int event_count_ = 0;     // collected and not yet handled
  bool collected_ = false;  // in this turn
  std::uint64_t rounds_ = 0;
  RoundTimes round_times_;
  gint64 now_ = 0;
};

}  // namespace vf
