// SPDX-License-Identifier: LGPL-2.1-or-later
//
// A loop on the test's own thread, to count what it does.

#include "relay/loop.h"

#include <gtest/gtest.h>
#include <sys/resource.h>

#include <array>
#include <memory>

#include "loopback.h"
#include "relay/served_forwards.h"

namespace vf {
namespace {

using namespace test;

TEST(RelayLoop, WithoutDescriptorsAcceptingPausesAndResumes) {
  struct NoEvents final : RelayEvents {
    void proven(const std::string&, std::size_t) override {}
    void failing(const std::string&, int) override {}
  } events;
  const Fd target = listening_socket();
  Fd listener = listening_socket();
  const Endpoint host = local_endpoint(listener.get());
  auto loop = Loop::create(nullptr);
  ASSERT_TRUE(loop);
  DescriptorBudget plenty(1 << 20);
  RelayContext context{**loop, plenty, events};
  ServedForwards table(context);
  const auto share = std::make_shared<ForwardShare>();
  table.apply(ServedAdd{{"a", {{local_endpoint(target.get())}}, 0},
                        share,
                        {std::make_shared<const Fd>(std::move(listener))}});
  const Fd client = connected_socket(host);
  ASSERT_TRUE(client);

  rlimit limit{};
  getrlimit(RLIMIT_NOFILE, &limit);
  const rlimit none{3, limit.rlim_max};
  ASSERT_EQ(setrlimit(RLIMIT_NOFILE, &none), 0);
  int turns = 0;
  bool over = false;
  const Source end = after(std::chrono::milliseconds(500), [&] { over = true; });
  for (; !over; ++turns)
    g_main_context_iteration(nullptr, TRUE);
  setrlimit(RLIMIT_NOFILE, &limit);
  EXPECT_LT(turns, 40);
  EXPECT_EQ(table.counters().at(0).accepted, 0u);

  EXPECT_TRUE(run_until([&] { return table.counters().at(0).accepted == 1; }));
  EXPECT_TRUE(run_until([&] {
    pollfd guest{target.get(), POLLIN, 0};
    return poll(&guest, 1, 0) == 1;
  }));
}

TEST(RelayLoop, CountsHowLongItsRoundsTake) {
  struct Slow final : Task {
    void run() override {
      const gint64 end = g_get_monotonic_time() + 3000;
      while (g_get_monotonic_time() < end) {
      }
      if (--left > 0) loop->again(*this);
    }
    Loop* loop = nullptr;
    int left = 0;
  };
  auto loop = Loop::create(nullptr);
  ASSERT_TRUE(loop);
  Slow task;
  task.loop = loop->get();
  // The first follow each other at once, the last is the only one of its turn.
  for (const int rounds : {3, 1}) {
    task.left = rounds;
    (*loop)->again(task);
    ASSERT_TRUE(run_until([&] { return task.left == 0; }));
  }
  const RoundTimes& times = (*loop)->round_times();
  // 1 ms is the fourth bound, 2.5 ms the fifth: at least so long, and all of them counted.
  std::uint64_t slow = 0;
  std::uint64_t all = 0;
  for (std::size_t i = 0; i < times.rounds.size(); ++i) {
    all += times.rounds[i];
    if (i >= 5) slow += times.rounds[i];
  }
  EXPECT_GE(slow, 4u);
  EXPECT_EQ(all, (*loop)->rounds());
  EXPECT_GE(times.microseconds, 4u * 3000u);
}

TEST(RoundTimes, ABoundIsWithinIt) {
  RoundTimes times;
  for (const unsigned duration : {0u, 100u, 101u, 1'000'000u, 1'000'001u})
    times.add(duration);
  EXPECT_EQ(times.rounds[0], 2u);
  EXPECT_EQ(times.rounds[1], 1u);
  EXPECT_EQ(times.rounds[RelayLaneStatistics::bounds.size() - 1], 1u);
  EXPECT_EQ(times.rounds[RelayLaneStatistics::bounds.size()], 1u);
  EXPECT_EQ(times.microseconds, 2'000'202u);
}

TEST(RelayLoop, SlowTasksLetOthersInBetween) {
  struct Slow final : Task {
    void run() override {
      const gint64 end = g_get_monotonic_time() + 3000;
      while (g_get_monotonic_time() < end) {
      }
      ++runs;
      if (loop) loop->again(*this);
    }
    Loop* loop = nullptr;
    int runs = 0;
  };
  auto loop = Loop::create(nullptr);
  ASSERT_TRUE(loop);
  std::array<Slow, 10> tasks;
  for (Slow& task : tasks) {
    task.loop = loop->get();
    (*loop)->again(task);
  }
  bool told = false;
  post(g_main_context_default(), [&] { told = true; });
  const auto runs = [&] {
    int sum = 0;
    for (const Slow& task : tasks)
      sum += task.runs;
    return sum;
  };
  while (!told)
    g_main_context_iteration(nullptr, TRUE);
  EXPECT_LE(runs(), 3);
  // Each has its turn.
  while (runs() < 20)
    g_main_context_iteration(nullptr, TRUE);
  for (Slow& task : tasks) {
    EXPECT_GE(task.runs, 1);
    task.loop = nullptr;
    (*loop)->forget(task);
  }
}

TEST(RelayLoop, IdleItSleeps) {
  struct NoEvents final : RelayEvents {
    void proven(const std::string&, std::size_t) override {}
    void failing(const std::string&, int) override {}
  } events;
  auto loop = Loop::create(nullptr);
  DescriptorBudget plenty(1 << 20);
  RelayContext context{**loop, plenty, events};
  ServedForwards table(context);
  const Fd target = listening_socket();
  Fd listener = listening_socket();
  const Endpoint host = local_endpoint(listener.get());
  const auto share = std::make_shared<ForwardShare>();
  table.apply(ServedAdd{{"a", {{local_endpoint(target.get())}}, 0},
                        share,
                        {std::make_shared<const Fd>(std::move(listener))}});
  const Fd client = connected_socket(host);
  ASSERT_TRUE(run_until([&] { return share->proven.load(); }));
  const Fd guest = accepted_socket(target);
  shutdown(client.get(), SHUT_WR);  // half-closed and idle
  ASSERT_TRUE(run_until([&] {
    pollfd ended{guest.get(), POLLIN, 0};
    return poll(&ended, 1, 0) == 1;
  }));
  int turns = 0;
  bool over = false;
  const Source end = after(std::chrono::milliseconds(300), [&] { over = true; });
  for (; !over; ++turns)
    g_main_context_iteration(nullptr, TRUE);
  EXPECT_LE(turns, 5);
}

}  // namespace
}  // namespace vf
