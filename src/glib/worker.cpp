// SPDX-License-Identifier: LGPL-2.1-or-later

#include "glib/worker.h"

#include <gio/gio.h>

namespace vf {
namespace {

struct Job {
  std::function<void()> work;
  std::function<void()> done;
};

void run(GTask* task, gpointer, gpointer job, GCancellable*) noexcept {
  static_cast<Job*>(job)->work();
  g_task_return_boolean(task, TRUE);
}

void finish(GObject*, GAsyncResult* result, gpointer) noexcept {
  // What `done` holds goes in this thread and not with the task, which the worker may drop last.
  auto* job = static_cast<Job*>(g_task_get_task_data(G_TASK(result)));
  const auto done = std::move(job->done);
  job->work = nullptr;
  job->done = nullptr;
  done();
}

void destroy(gpointer job) noexcept {
  delete static_cast<Job*>(job);
}

}  // namespace

void run_in_worker(std::function<void()> work, std::function<void()> done) {
  GTask* task = g_task_new(nullptr, nullptr, finish, nullptr);
  g_task_set_task_data(task, new Job{std::move(work), std::move(done)}, destroy);
  g_task_run_in_thread(task, run);
  g_object_unref(task);
}

}  // namespace vf
