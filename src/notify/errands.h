// SPDX-License-Identifier: LGPL-2.1-or-later
//
// Work that may take long (a question to polkit, a program that does not end), off the main loop:
// a few at once, the rest in order. Main thread only, but for the work itself.

#pragma once

#include <functional>
#include <memory>

#include "base/result.h"
#include "glib/ref.h"

namespace vf {

class Errands {
 public:
  using Work = std::function<Result<void>()>;
  using Done = std::function<void(Result<void>)>;

  Errands();
  // Does not wait for what runs; nothing is called any more.
  ~Errands();
  Errands(const Errands&) = delete;
  Errands& operator=(const Errands&) = delete;

  // `work` runs on a thread of its own and holds nothing of the main thread's; `done` runs on the
  // main context.
  void run(Work work, Done done);

 private:
  static void on_thread(gpointer errand, gpointer) noexcept;

  GThreadPool* pool_;
  std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);
};

}  // namespace vf
