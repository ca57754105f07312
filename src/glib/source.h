// SPDX-License-Identifier: LGPL-2.1-or-later
//
// Sources of a GMainContext as values: a source lives as long as its Source object and calls its
// function on the context's thread. A function may destroy its own Source.

#pragma once

#include <glib.h>

#include <chrono>
#include <functional>

namespace vf {

class Source {
 public:
  Source() = default;
  Source(Source&& other) noexcept;
  Source& operator=(Source&& other) noexcept;
  ~Source();

  explicit operator bool() const { return source_ != nullptr; }
  void reset();

 private:
  friend Source watch_fd(int, GIOCondition, std::function<void(GIOCondition)>, GMainContext*);
  friend Source after(std::chrono::milliseconds, std::function<void()>, GMainContext*);
  friend Source every(std::chrono::milliseconds, std::function<void()>, GMainContext*);
  friend Source on_idle(std::function<void()>, GMainContext*);
  friend Source on_signal(int, std::function<void()>);
  explicit Source(GSource* source) : source_(source) {}

  GSource* source_ = nullptr;
};

// Calls as long as the condition holds on `fd`, which stays the caller's. Null context: the
// thread's default.
Source watch_fd(int fd, GIOCondition condition, std::function<void(GIOCondition)> function,
                GMainContext* context = nullptr);
// Once.
Source after(std::chrono::milliseconds delay, std::function<void()> function,
             GMainContext* context = nullptr);
// Repeatedly, at whole seconds shared with other timers where the delay is one second or more.
Source every(std::chrono::milliseconds interval, std::function<void()> function,
             GMainContext* context = nullptr);
// Once, when nothing of default priority is ready.
Source on_idle(std::function<void()> function, GMainContext* context = nullptr);
// SIGHUP, SIGINT, SIGTERM, SIGUSR1 or SIGUSR2, on the main context.
Source on_signal(int signal_number, std::function<void()> function);

// Runs once on `context` from any thread; there is nothing to cancel it with.
void post(GMainContext* context, std::function<void()> function);

}  // namespace vf
