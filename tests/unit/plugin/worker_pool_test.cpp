// SPDX-License-Identifier: LGPL-2.1-or-later

#include "plugin/worker_pool.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <chrono>
#include <future>
#include <memory>
#include <vector>

namespace vf {
namespace {

constexpr std::chrono::seconds patience{10};

TEST(WorkerPool, KeepsTheOrderOfAKey) {
  std::vector<int> order;  // touched by one job at a time
  {
    WorkerPool pool(4);
    for (int i = 0; i < 1000; ++i)
      pool.run("domain", [&order, i] { order.push_back(i); });
  }
  ASSERT_EQ(order.size(), 1000u);
  EXPECT_TRUE(std::is_sorted(order.begin(), order.end()));
}

TEST(WorkerPool, ABlockedKeyHoldsUpNoOther) {
  WorkerPool pool(2);
  std::promise<void> release;
  std::promise<void> other_ran;
  std::shared_future<void> gate = release.get_future().share();
  pool.run("blocked", [gate] { gate.wait(); });
  pool.run("blocked", [gate] { gate.wait(); });
  pool.run("other", [&other_ran] { other_ran.set_value(); });
  EXPECT_EQ(other_ran.get_future().wait_for(patience), std::future_status::ready);
  release.set_value();
}

TEST(WorkerPool, AHangingJobDoesNotKeepTheProcess) {
  auto release = std::make_shared<std::promise<void>>();
  auto finished = std::make_shared<std::promise<void>>();
  {
    WorkerPool pool(1);
    pool.run("hung", [gate = release->get_future().share(), finished] {
      gate.wait();
      finished->set_value();
    });
    pool.run("behind", [] { ADD_FAILURE() << "ran after the end"; });
  }
  // Here after its grace; the thread is still there and does no harm when it wakes up.
  release->set_value();
  EXPECT_EQ(finished->get_future().wait_for(patience), std::future_status::ready);
}

}  // namespace
}  // namespace vf
