// SPDX-License-Identifier: LGPL-2.1-or-later

#include "plugin/worker_pool.h"

#include <algorithm>
#include <chrono>
#include <condition_variable>
#include <list>
#include <mutex>
#include <set>
#include <thread>
#include <utility>

namespace vf {

struct WorkerPool::State {
  struct Job {
    std::string key;
    std::function<void()> function;
  };

  std::mutex mutex;
  std::condition_variable work;
  std::condition_variable idle;
  std::list<Job> waiting;
  std::set<std::string> busy;  // keys of the jobs that run
  bool stopping = false;
  std::vector<bool> ended;  // by thread

  // The first job whose key is free; waits for one. False: stop.
  bool take(std::unique_lock<std::mutex>& lock, Job& job) {
    while (!stopping) {
      const auto next = std::find_if(waiting.begin(), waiting.end(), [this](const Job& candidate) {
        return !busy.contains(candidate.key);
      });
      if (next != waiting.end()) {
        job = std::move(*next);
        waiting.erase(next);
        busy.insert(job.key);
        return true;
      }
      work.wait(lock);
    }
    return false;
  }

  void serve(std::size_t thread) {
    std::unique_lock lock(mutex);
    for (Job job; take(lock, job); job = {}) {
      lock.unlock();
      job.function();
      job.function = nullptr;
      lock.lock();
      busy.erase(job.key);
      idle.notify_all();
      work.notify_one();
    }
    ended[thread] = true;
    idle.notify_all();
  }
};

WorkerPool::WorkerPool(unsigned threads) : state_(std::make_shared<State>()) {
  state_->ended.resize(threads);
  for (unsigned i = 0; i < threads; ++i)
    threads_.emplace_back([state = state_, i] { state->serve(i); });
}

WorkerPool::~WorkerPool() {
  const auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds(2);
  std::unique_lock lock(state_->mutex);
  state_->idle.wait_until(lock, deadline,
                          [this] { return state_->busy.empty() && state_->waiting.empty(); });
  state_->stopping = true;
  state_->work.notify_all();
  state_->idle.wait_until(lock, deadline, [this] {
    return std::ranges::all_of(state_->ended, [](bool ended) { return ended; });
  });
  const std::vector<bool> ended = state_->ended;
  lock.unlock();
  // A thread that ends while the program does meets OpenSSL's clean-up half way, and crashes.
  for (std::size_t i = 0; i < threads_.size(); ++i)
    ended[i] ? threads_[i].join() : threads_[i].detach();
}

void WorkerPool::run(std::string key, std::function<void()> job) {
  const std::lock_guard lock(state_->mutex);
  state_->waiting.push_back({std::move(key), std::move(job)});
  state_->work.notify_one();
}

}  // namespace vf
