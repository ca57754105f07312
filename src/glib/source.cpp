// SPDX-License-Identifier: LGPL-2.1-or-later

#include "glib/source.h"

#include <glib-unix.h>

#include <atomic>
#include <memory>
#include <utility>

namespace vf {
namespace {

using Function = std::function<void()>;
using FdFunction = std::function<void(GIOCondition)>;

// Functions are copied out before the call: one may destroy its own Source, and itself with it.
gboolean run_again(gpointer data) noexcept {
  const Function function = *static_cast<Function*>(data);
  function();
  return G_SOURCE_CONTINUE;
}

gboolean run_once(gpointer data) noexcept {
  const Function function = std::move(*static_cast<Function*>(data));
  function();
  return G_SOURCE_REMOVE;
}

// What one thread posts to another. The context's lock orders the two; the mark says so to a thread
// sanitizer, which does not see into GLib.
struct Posted {
  explicit Posted(Function posted) : function(std::move(posted)) {
    complete.store(true, std::memory_order_release);
  }
  Function function;
  std::atomic<bool> complete{false};

  static Posted* of(gpointer data) noexcept {
    auto* const posted = static_cast<Posted*>(data);
    return posted->complete.load(std::memory_order_acquire) ? posted : nullptr;
  }
  static gboolean run(gpointer data) noexcept {
    const Function function = std::move(of(data)->function);
    function();
    return G_SOURCE_REMOVE;
  }
  static void destroy(gpointer data) noexcept { delete of(data); }
};

gboolean run_fd(gint, GIOCondition condition, gpointer data) noexcept {
  const auto function = *static_cast<std::shared_ptr<FdFunction>*>(data);
  (*function)(condition);
  return G_SOURCE_CONTINUE;
}

template <typename T>
void destroy(gpointer data) noexcept {
  delete static_cast<T*>(data);
}

GSource* attach(GSource* source, GSourceFunc callback, gpointer data, GDestroyNotify notify,
                GMainContext* context) {
  g_source_set_callback(source, callback, data, notify);
  g_source_attach(source, context ? context : g_main_context_get_thread_default());
  return source;
}

GSource* attach(GSource* source, GSourceFunc callback, Function function, GMainContext* context) {
  return attach(source, callback, new Function(std::move(function)), destroy<Function>, context);
}

}  // namespace

Source::Source(Source&& other) noexcept : source_(std::exchange(other.source_, nullptr)) {}

Source& Source::operator=(Source&& other) noexcept {
  if (this != &other) {
    reset();
    source_ = std::exchange(other.source_, nullptr);
  }
  return *this;
}

Source::~Source() {
  reset();
}

void Source::reset() {
  GSource* source = std::exchange(source_, nullptr);
  if (!source) return;
  g_source_destroy(source);
  g_source_unref(source);
}

Source watch_fd(int fd, GIOCondition condition, FdFunction function, GMainContext* context) {
  using Shared = std::shared_ptr<FdFunction>;
  auto* data = new Shared(std::make_shared<FdFunction>(std::move(function)));
  return Source(attach(g_unix_fd_source_new(fd, condition), G_SOURCE_FUNC(run_fd), data,
                       destroy<Shared>, context));
}

Source after(std::chrono::milliseconds delay, Function function, GMainContext* context) {
  return Source(attach(g_timeout_source_new(static_cast<guint>(delay.count())), run_once,
                       std::move(function), context));
}

Source every(std::chrono::milliseconds interval, Function function, GMainContext* context) {
  const auto count = static_cast<guint>(interval.count());
  GSource* source =
      count >= 1000 ? g_timeout_source_new_seconds(count / 1000) : g_timeout_source_new(count);
  return Source(attach(source, run_again, std::move(function), context));
}

Source on_idle(Function function, GMainContext* context) {
  return Source(attach(g_idle_source_new(), run_once, std::move(function), context));
}

Source on_signal(int signal_number, Function function) {
  return Source(
      attach(g_unix_signal_source_new(signal_number), run_again, std::move(function), nullptr));
}

void post(GMainContext* context, Function function) {
  GSource* source = g_idle_source_new();
  g_source_set_priority(source, G_PRIORITY_DEFAULT);
  g_source_unref(
      attach(source, Posted::run, new Posted(std::move(function)), Posted::destroy, context));
}

}  // namespace vf
