// SPDX-License-Identifier: LGPL-2.1-or-later

#include "relay/loop.h"

#include <sys/epoll.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <utility>

namespace vf {
namespace {

// Of bulk work in a row before the context's other sources are asked.
constexpr int rounds_per_turn = 32;
// Microseconds after which a round leaves its tasks to the next.
constexpr gint64 round_time = 2000;

thread_local Loop* loop_of_thread = nullptr;

}  // namespace

// It may recurse, though nobody makes it: GLib takes the descriptors of a source that may not out
// of its poll set and back for each dispatch, which is two writes and a read of its eventfd.
struct Loop::LoopSource {
  GSource base;
  Loop* loop;

  static Loop& of(GSource* source) { return *reinterpret_cast<LoopSource*>(source)->loop; }
  static gboolean prepare(GSource* source, gint* timeout) noexcept {
    *timeout = of(source).wait_at_most();
    return *timeout == 0;
  }
  static gboolean check(GSource* source) noexcept {
    Loop& loop = of(source);
    return loop.event_count_ > 0 || g_source_query_unix_fd(source, loop.epoll_tag_) != 0 ||
           loop.wait_at_most() == 0;
  }
  static gboolean dispatch(GSource* source, GSourceFunc, gpointer) noexcept {
    of(source).turn();
    return G_SOURCE_CONTINUE;
  }
};

Timer::~Timer() {
  disarm();
}

void Timer::arm(std::chrono::microseconds delay) {
  disarm();
  deadline_ = g_get_monotonic_time() + delay.count();
  loop_.timers_.emplace(deadline_, this);
}

void Timer::disarm() {
  if (deadline_ != 0) loop_.timers_.erase({deadline_, this});
  deadline_ = 0;
}

Result<std::unique_ptr<Loop>> Loop::create(GMainContext* context) {
  Fd epoll(epoll_create1(EPOLL_CLOEXEC));
  if (!epoll) return Unexpected(system_error(errno, "epoll_create1"));
  static GSourceFuncs functions{
      LoopSource::prepare, LoopSource::check, LoopSource::dispatch, nullptr, nullptr, nullptr};
  std::unique_ptr<Loop> loop(new Loop(std::move(epoll)));
  loop->now_ = g_get_monotonic_time();
  loop->source_ = g_source_new(&functions, sizeof(LoopSource));
  reinterpret_cast<LoopSource*>(loop->source_)->loop = loop.get();
  g_source_set_static_name(loop->source_, "relay loop");
  g_source_set_can_recurse(loop->source_, TRUE);
  loop->epoll_tag_ = g_source_add_unix_fd(loop->source_, loop->epoll_.get(), G_IO_IN);
  if (!context) context = g_main_context_get_thread_default();
  if (!context) context = g_main_context_default();
  g_source_attach(loop->source_, context);
  loop->context_ = g_main_context_ref(context);
  loop->poll_before_ = g_main_context_get_poll_func(context);
  g_main_context_set_poll_func(context, wait_in_epoll);
  loop_of_thread = loop.get();
  return loop;
}

Loop::~Loop() {
  retired_.clear();
  loop_of_thread = nullptr;
  g_main_context_set_poll_func(context_, poll_before_);
  g_main_context_unref(context_);
  g_source_destroy(source_);
  g_source_unref(source_);
}

Result<void> Loop::watch(int fd, std::uint32_t events, Handler& handler) {
  epoll_event event{};
  event.events = events;
  event.data.ptr = &handler;
  if (epoll_ctl(epoll_.get(), EPOLL_CTL_ADD, fd, &event) == 0) return {};
  return Unexpected(system_error(errno, "epoll_ctl"));
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

void Loop::again(Task& task) {
  if (std::exchange(task.queued_, true)) return;
  tasks_.push_back(&task);
}

void Loop::forget(Task& task) {
  if (std::exchange(task.queued_, false)) std::erase(tasks_, &task);
}

int Loop::wait_at_most() const {
  if (!tasks_.empty() || !retired_.empty()) return 0;
  if (timers_.empty()) return -1;
  const gint64 left = timers_.begin()->first - g_get_monotonic_time();
  return left <= 0 ? 0 : static_cast<int>(std::min<gint64>(left / 1000 + 1, 60'000));
}

// A GPollFunc.
gint Loop::wait_in_epoll(GPollFD* descriptors, guint count, gint timeout) noexcept {
  Loop* const loop = loop_of_thread;
  GPollFD* const end = descriptors + count;
  GPollFD* const ours = std::find_if(
      descriptors, end, [&](const GPollFD& one) { return loop && one.fd == loop->epoll_.get(); });
  if (count != 2 || ours == end) return g_poll(descriptors, count, timeout);
  GPollFD* const other = descriptors + (ours == descriptors ? 1 : 0);
  if (!loop->watches(other->fd)) return g_poll(descriptors, count, timeout);
  loop->collect(timeout);
  loop->collected_ = true;
  ours->revents = loop->event_count_ > 0 ? G_IO_IN : 0;
  other->revents = loop->wake_up_.rung ? G_IO_IN : 0;
  return (ours->revents != 0) + (other->revents != 0);
}

bool Loop::watches(int wake_up) {
  if (wake_up_.fd == wake_up) return true;
  if (wake_up_.fd >= 0 || !watch(wake_up, EPOLLIN, wake_up_)) return false;
  wake_up_.fd = wake_up;
  return true;
}

void Loop::collect(int timeout) {
  wake_up_.rung = false;
  const int count = epoll_wait(epoll_.get(), events_.data(), events_per_round, timeout);
  for (int i = 0; i < count; ++i) {
    const epoll_event event = events_[static_cast<std::size_t>(i)];
    if (event.data.ptr == static_cast<Handler*>(&wake_up_))
      wake_up_.rung = true;
    else
      events_[static_cast<std::size_t>(event_count_++)] = event;
  }
}

void Loop::turn() {
  if (!std::exchange(collected_, false)) collect(0);
  round();
  for (int rounds = 1; rounds < rounds_per_turn && !tasks_.empty() && !wake_up_.rung; ++rounds) {
    collect(0);
    const gint64 before = now_;
    round();
    round_times_.add(static_cast<std::uint64_t>(now_ - before));  // begun by now
  }
  round_times_.add(static_cast<std::uint64_t>(g_get_monotonic_time() - now_));
}

void Loop::round() {
  ++rounds_;
  now_ = g_get_monotonic_time();
  std::vector<Task*> tasks = std::exchange(tasks_, {});
  const int count = std::exchange(event_count_, 0);
  for (int i = 0; i < count; ++i) {
    const epoll_event& event = events_[static_cast<std::size_t>(i)];
    static_cast<Handler*>(event.data.ptr)->ready(event.events);
  }
  // A task that is forgotten meanwhile is retired and not yet destroyed: its mark tells.
  for (auto task = tasks.begin(); task != tasks.end(); ++task) {
    if (task != tasks.begin() && g_get_monotonic_time() - now_ > round_time) {
      const auto end = std::remove_if(task, tasks.end(), [](Task* one) { return !one->queued_; });
      tasks_.insert(tasks_.begin(), task, end);
      break;
    }
    if (std::exchange((*task)->queued_, false)) (*task)->run();
  }
  while (!timers_.empty() && timers_.begin()->first <= now_) {
    Timer* const timer = timers_.begin()->second;
    timer->disarm();
    timer->expired();
  }
  if (count == 0 || retired_.size() >= max_retired) std::exchange(retired_, {}).clear();
}

}  // namespace vf
