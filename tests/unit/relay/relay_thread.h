// SPDX-License-Identifier: LGPL-2.1-or-later
//
// A relay on a thread of its own, for tests that make blocking calls on their ends of the sockets.

#pragma once

#include <glib.h>

#include <condition_variable>
#include <future>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <thread>
#include <type_traits>
#include <utility>
#include <vector>

#include "glib/ref.h"
#include "glib/source.h"
#include "loopback.h"
#include "relay/context.h"
#include "relay/loop.h"
#include "relay/served_forwards.h"

namespace vf::test {

// Events as they come, to wait for.
class EventLog final : public RelayEvents {
 public:
  void proven(const std::string& key, std::size_t endpoint) override {
    add("proven " + key + (endpoint == 0 ? "" : " by " + std::to_string(endpoint)));
  }
  void failing(const std::string& key, int error_number) override {
    add("failing " + key + ' ' + std::to_string(error_number));
  }

  std::vector<std::string> all() {
    const std::lock_guard lock(mutex_);
    return events_;
  }
  // False after the deadline.
  bool wait_for(std::size_t count) {
    std::unique_lock lock(mutex_);
    return changed_.wait_for(lock, std::chrono::seconds(deadline_seconds),
                             [&] { return events_.size() >= count; });
  }

 private:
  void add(std::string event) {
    const std::lock_guard lock(mutex_);
    events_.push_back(std::move(event));
    changed_.notify_all();
  }

  std::mutex mutex_;
  std::condition_variable changed_;
  std::vector<std::string> events_;
};

class RelayThread {
 public:
  explicit RelayThread(std::size_t descriptors = 10'000, Lane* other_lane = nullptr)
      : context_(adopt(g_main_context_new())), descriptors_(descriptors) {
    std::promise<void> started;
    thread_ = std::thread([this, &started, other_lane] {
      g_main_context_push_thread_default(context_.get());
      loop_ = *Loop::create(context_.get());
      relay_.emplace(
          RelayContext{*loop_, descriptors_, events, std::make_shared<Hurry>(), false, other_lane});
      table_ = std::make_unique<ServedForwards>(*relay_);
      started.set_value();
      while (!stop_)
        g_main_context_iteration(context_.get(), TRUE);
      table_.reset();
      loop_.reset();
      g_main_context_pop_thread_default(context_.get());
    });
    started.get_future().wait();
  }
  ~RelayThread() {
    post(context_.get(), [this] { stop_ = true; });
    thread_.join();
  }

  // Runs on the relay's thread and waits for it.
  template <typename Function>
  auto call(Function function) {
    using Value = std::invoke_result_t<Function, ServedForwards&, Loop&>;
    std::promise<Value> promise;
    post(context_.get(), [&] {
      if constexpr (std::is_void_v<Value>) {
        function(*table_, *loop_);
        promise.set_value();
      } else {
        promise.set_value(function(*table_, *loop_));
      }
    });
    return promise.get_future().get();
  }

  // Its listener is the relay's alone; where clients connect.
  Endpoint add(const std::string& key, std::vector<RelayEndpoint> targets,
               std::uint32_t max_connections = 0, int backlog = 128) {
    return add({key, {std::move(targets)}, max_connections}, listening_socket(backlog));
  }
  Endpoint add(RelayForward forward, Fd listener) {
    const Endpoint host = local_endpoint(listener.get());
    serve(std::move(forward), std::move(listener));
    return host;
  }
  std::shared_ptr<ForwardShare> serve(RelayForward forward, Fd listener) {
    auto share = std::make_shared<ForwardShare>();
    ServedAdd addition{
        std::move(forward), share, {std::make_shared<const Fd>(std::move(listener))}};
    call([&](ServedForwards& table, Loop&) { table.apply(std::move(addition)); });
    return share;
  }
  void remove(const std::string& key, RelayRemoval removal) {
    call([&](ServedForwards& table, Loop&) { table.apply(RelayRemove{key, removal}); });
  }
  RelayCounters counters(const std::string& key) {
    return call([&](ServedForwards& table, Loop&) {
      for (const RelayCounters& one : table.counters())
        if (one.key == key) return one;
      return RelayCounters{};
    });
  }
  // True when it holds within the deadline; asked again whenever the relay has done something.
  bool eventually(const std::function<bool(ServedForwards&, Loop&)>& holds) {
    const gint64 deadline = g_get_monotonic_time() + deadline_seconds * G_USEC_PER_SEC;
    while (g_get_monotonic_time() < deadline) {
      if (call([&](ServedForwards& table, Loop& loop) { return holds(table, loop); })) return true;
      std::this_thread::yield();
    }
    return false;
  }

  EventLog events;

 private:
  Ref<GMainContext> context_;
  DescriptorBudget descriptors_;
  std::optional<RelayContext> relay_;
  std::unique_ptr<Loop> loop_;
  std::unique_ptr<ServedForwards> table_;
  bool stop_ = false;
  std::thread thread_;
};

}  // namespace vf::test
