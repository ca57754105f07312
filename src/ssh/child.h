// SPDX-License-Identifier: LGPL-2.1-or-later

#pragma once

#include <sys/types.h>

#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "base/fd.h"
#include "base/result.h"
#include "glib/source.h"

namespace vf {

// A program that this process has started. It does not outlive either: it is killed when this
// object goes, and by the kernel when this process (this thread, the main one) ends.
class Child {
 public:
  // What it writes on standard error, as it comes, and how it ended, as waitpid() has it; in the
  // thread's default context. Either may destroy the Child.
  using OnOutput = std::function<void(std::string_view bytes)>;
  using OnExit = std::function<void(int status)>;

  // `environment` is all of it ("NAME=VALUE"). Standard input and output are /dev/null.
  static Result<std::unique_ptr<Child>> start(const std::vector<std::string>& arguments,
                                              const std::vector<std::string>& environment,
                                              OnOutput on_output, OnExit on_exit);
  ~Child();

  pid_t pid() const { return pid_; }

 private:
  Child(pid_t pid, Fd handle, Fd output, OnOutput on_output, OnExit on_exit);
  enum class Read { some, nothing, end };
  Read read_some();
  void ended();

  pid_t pid_;
  Fd handle_;
  Fd output_;
  OnOutput on_output_;
  OnExit on_exit_;
  Source readable_;
  Source exited_;
  std::shared_ptr<int> alive_ = std::make_shared<int>(0);
};

// "ended with status 1", "was killed by signal 9 (Killed)".
std::string exit_text(int status);

}  // namespace vf
