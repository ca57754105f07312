// SPDX-License-Identifier: LGPL-2.1-or-later
//
// Threads for calls that may block. Jobs with the same key run one after the other in the order
// they came; jobs with different keys side by side, so that one domain that libvirt holds locked
// does not hold up the others.

#pragma once

#include <functional>
#include <memory>
#include <string>
#include <thread>
#include <vector>

namespace vf {

class WorkerPool {
 public:
  explicit WorkerPool(unsigned threads);
  // Waits a moment for the jobs that it has. One that hangs is left behind with its thread and
  // whatever it holds up, so a job owns everything it uses.
  ~WorkerPool();
  WorkerPool(const WorkerPool&) = delete;
  WorkerPool& operator=(const WorkerPool&) = delete;

  // From any thread.
  void run(std::string key, std::function<void()> job);

 private:
  struct State;
  std::shared_ptr<State> state_;
  std::vector<std::thread> threads_;
};

}  // namespace vf
