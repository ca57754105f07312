// SPDX-License-Identifier: LGPL-2.1-or-later
//
// Agents that tell more than anybody wants to know, or never listen.

#include <algorithm>

#include "guests_lab.h"

namespace vf {
namespace {

TEST_F(GuestsTest, EndlessFramesCostSoMuchATurn) {
  Agent hostile;
  guests_.open(hostile.open("bad"));
  hostile.greet();
  EXPECT_TRUE(tells({"bad up agent 1"}));
  // Empty frames of a kind that nobody knows.
  Bytes endless(64 << 10);
  for (std::size_t at = 0; at < endless.size(); at += 4)
    endless[at] = 200;
  std::size_t taken = 0;
  const gint64 began = g_get_monotonic_time();
  while (g_get_monotonic_time() - began < 500'000) {
    taken += hostile.say(endless) / 4 * 4;
    g_main_context_iteration(nullptr, FALSE);
  }
  const auto turns = static_cast<std::size_t>((g_get_monotonic_time() - began) / 100'000) + 2;
  const std::size_t in_sockets = 1 << 20;
  EXPECT_LE(taken,
            GuestSession::first_account_cost + turns * GuestSession::cost_per_turn + in_sockets);

  // Another guest notices nothing.
  Agent honest;
  guests_.open(honest.open("good"));
  honest.greet();
  honest.frame(listens(80));
  honest.frame(GuestSnapshotEnd{});
  EXPECT_TRUE(tells({"good up agent 1", "good +80", "good synced"}));
}

// A service that ends as it begins: in one read, with nothing else to tell.
TEST_F(GuestsTest, WhatComesAndGoesUnseenIsNotTold) {
  Agent agent;
  guests_.open(agent.open("g"));
  agent.greet();
  agent.frame(GuestSnapshotEnd{});
  EXPECT_TRUE(tells({"g up agent 1", "g synced"}));
  Bytes both = encode(GuestFrame(listens(4000)));
  std::ranges::copy(encode(GuestFrame(GuestGone{listens(4000).listener.key})),
                    std::back_inserter(both));
  EXPECT_EQ(agent.say(both), both.size());
  spin(std::chrono::milliseconds(100));
  agent.frame(listens(80));
  EXPECT_TRUE(tells({"g +80", "g synced"}));
}

// Ten thousand ports a second, ports that flap, and names of ten megabytes.
TEST_F(GuestsTest, ChangesAreToldSoManyATurn) {
  Agent hostile;
  guests_.open(hostile.open("bad"));
  hostile.greet();
  hostile.frame(GuestSnapshotEnd{});
  EXPECT_TRUE(tells({"bad up agent 1", "bad synced"}));
  told_ = 0;
  unsigned port = 0;
  Bytes unsent;
  const gint64 began = g_get_monotonic_time();
  // A second, and on a busy machine until there was more than a turn may tell.
  while (g_get_monotonic_time() - began < 1'000'000 ||
         (synced_.slowed == 0 && g_get_monotonic_time() - began < 20'000'000)) {
    if (unsent.size() < 4096)
      for (int i = 0; i < 2000; ++i) {  // more than a turn may tell
        port = port % 65535 + 1;
        const std::string name(60, static_cast<char>('a' + port % 26));
        std::ranges::copy(encode(GuestFrame(listens(port, name))), std::back_inserter(unsent));
        if (port > 500)
          std::ranges::copy(encode(GuestFrame(GuestGone{listens(port - 500).listener.key})),
                            std::back_inserter(unsent));
      }
    const std::size_t sent = hostile.say(unsent);
    unsent.erase(unsent.begin(), unsent.begin() + static_cast<std::ptrdiff_t>(sent));
    g_main_context_iteration(nullptr, FALSE);
  }
  const auto turns = static_cast<std::size_t>((g_get_monotonic_time() - began) / 100'000) + 2;
  EXPECT_LE(told_, turns * (Guests::told_per_turn + 1));
  EXPECT_GT(told_, Guests::told_per_turn) << "it goes on";
  EXPECT_GT(synced_.slowed, 0u) << "and the daemon learns of it";
}

TEST_F(GuestsTest, AnAgentThatNeverReadsHoldsNothingUp) {
  Agent mute;
  guests_.open(mute.open("g"));
  mute.greet();
  EXPECT_TRUE(tells({"g up agent 1"}));
  for (int i = 0; i < 200'000; ++i)
    guests_.wants({"g", i % 2 == 0});
  mute.frame(listens(80));
  mute.frame(GuestSnapshotEnd{});
  EXPECT_TRUE(tells({"g +80", "g synced"}));
  std::size_t heard = 0;
  run_until([&] {
    heard += mute.heard().size();
    return heard > GuestRequest::bytes;
  });
}

}  // namespace
}  // namespace vf
