// SPDX-License-Identifier: LGPL-2.1-or-later

#include <glib.h>
#include <gtest/gtest.h>

#include "relay/forward.h"

namespace vf {
namespace {

TEST(EndpointPreference, TheFirstIsTriedAgainByOneNowAndThen) {
  EndpointPreference preference;
  EXPECT_EQ(preference.first(3, 1), 0u);
  preference.worked(2, 1);
  EXPECT_EQ(preference.first(3, 2), 2u);
  EXPECT_EQ(preference.first(2, 2), 0u) << "of another list";
  const gint64 later = EndpointPreference::shortest_pause + 1;
  EXPECT_EQ(preference.first(3, later), 0u);
  EXPECT_EQ(preference.first(3, later), 2u) << "one is enough";
  preference.worked(2, later + 1);
  EXPECT_EQ(preference.first(3, later + 2), 2u);
  preference.worked(0, later + 3);
  EXPECT_EQ(preference.first(3, later + 4), 0u);
  EXPECT_EQ(preference.first(3, later + 4), 0u);
}

TEST(EndpointPreference, WhatFailedIsPassedOverAtOnceAndTriedMoreAndMoreRarely) {
  EndpointPreference preference;
  gint64 now = 1;
  preference.failed(0, 3, now);
  preference.failed(0, 3, now);  // who was on the way already
  EXPECT_EQ(preference.first(3, now), 1u);
  preference.failed(1, 3, now);
  EXPECT_EQ(preference.first(3, now), 2u);
  preference.failed(2, 3, now);
  EXPECT_EQ(preference.first(3, now), 2u) << "the last has none behind it";
  preference.worked(2, now);
  for (gint64 pause = EndpointPreference::shortest_pause; pause < EndpointPreference::longest_pause;
       pause *= 2) {
    EXPECT_EQ(preference.first(3, now + pause - 1), 2u);
    now += pause;
    EXPECT_EQ(preference.first(3, now), 0u) << pause;
    preference.failed(0, 3, now);
    EXPECT_EQ(preference.first(3, now), 2u);
  }
  now += EndpointPreference::longest_pause;
  EXPECT_EQ(preference.first(3, now), 0u);
  preference.worked(0, now);
  EXPECT_EQ(preference.first(3, now), 0u);
  preference.failed(0, 3, now);
  EXPECT_EQ(preference.first(3, now + EndpointPreference::shortest_pause), 0u) << "from the start";
}

}  // namespace
}  // namespace vf
