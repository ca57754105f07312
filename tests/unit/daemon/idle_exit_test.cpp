// SPDX-License-Identifier: LGPL-2.1-or-later
//
// When a daemon that nothing needs ends. The clock is the real one; what must not happen is shown
// by another that ends meanwhile.

#include "daemon/idle_exit.h"

#include <gtest/gtest.h>

#include "bus_fake.h"
#include "bus_lab.h"

namespace vf {
namespace {

using namespace std::chrono_literals;

struct Daemon {
  explicit Daemon(std::chrono::milliseconds patience = 40ms)
      : idle(
            patience, [this] { return needed; }, [this] { ++ends; }) {}

  bool needed = false;
  int ends = 0;
  IdleExit idle;
};

bool ends_soon(const Daemon& daemon) {
  return iterate_until([&] { return daemon.ends != 0; });
}

TEST(IdleExit, EndsOnceWhenNothingNeedsIt) {
  const gint64 begun = g_get_monotonic_time();
  Daemon daemon;
  ASSERT_TRUE(ends_soon(daemon));
  EXPECT_GE(g_get_monotonic_time() - begun, 40'000);
  Daemon later;
  ASSERT_TRUE(ends_soon(later));
  EXPECT_EQ(daemon.ends, 1);
}

TEST(IdleExit, StaysAsLongAsItIsNeeded) {
  Daemon daemon;
  daemon.needed = true;
  Daemon control(80ms);
  ASSERT_TRUE(ends_soon(control));
  EXPECT_EQ(daemon.ends, 0);
  daemon.needed = false;
  const gint64 free = g_get_monotonic_time();
  ASSERT_TRUE(ends_soon(daemon));
  EXPECT_GE(g_get_monotonic_time() - free, 30'000) << "the time begins when the need ends";
}

TEST(IdleExit, WhatHappensBeginsTheTimeAnew) {
  Daemon daemon(200ms);
  Daemon control(100ms);
  ASSERT_TRUE(ends_soon(control));
  ASSERT_EQ(daemon.ends, 0);
  daemon.idle.happened();
  const gint64 happened = g_get_monotonic_time();
  ASSERT_TRUE(ends_soon(daemon));
  EXPECT_GE(g_get_monotonic_time() - happened, 200'000);
}

TEST(IdleExit, AStartThatIsPreparedHoldsUntilItIsReleased) {
  Daemon daemon;
  daemon.idle.hold("web", 10min);
  daemon.idle.hold("other", 1ms);
  Daemon control(80ms);
  ASSERT_TRUE(ends_soon(control));
  EXPECT_EQ(daemon.ends, 0);
  daemon.idle.let_go("web");
  EXPECT_TRUE(ends_soon(daemon));
}

TEST(IdleExit, DomainsThatNeedADaemon) {
  FakeModel model;
  EXPECT_FALSE(domains_need_daemon(model, true));
  EXPECT_FALSE(domains_need_daemon(model, false));
  DomainView domain = fake_domain(uuid1, "web");
  domain.active = false;
  model.add(domain);
  EXPECT_FALSE(domains_need_daemon(model, true)) << "its start wakes another";
  EXPECT_TRUE(domains_need_daemon(model, false)) << "nobody would";
  domain.uuid = uuid2;
  domain.active = true;
  model.add(domain);
  EXPECT_TRUE(domains_need_daemon(model, true));
}

}  // namespace
}  // namespace vf
