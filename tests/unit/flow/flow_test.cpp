// SPDX-License-Identifier: LGPL-2.1-or-later

#include "flow/flow.h"

#include <gtest/gtest.h>

#include <array>
#include <cerrno>
#include <functional>
#include <random>
#include <string>

#include "flow_model.h"

namespace vf {
namespace {

using test::FlowModel;
using enum Side;
using State = Flow::DirectionState;
using Outcome = Flow::Outcome;

TEST(Flow, IdleHoldsNoBuffer) {
  FlowModel model;
  model.take(guest, 100);
  model.send(client, 50);
  model.settle();
  EXPECT_EQ(model.at(guest).written, 50u);
  EXPECT_EQ(model.pool.taken(), 0u);
}

TEST(Flow, AStalledReaderStopsItsSenderAtOneBuffer) {
  FlowModel model;
  model.send(client, 10 * Buffer::capacity);
  model.settle();
  EXPECT_EQ(model.at(client).read, Buffer::capacity);
  EXPECT_EQ(model.pool.taken(), 1u);
  model.take(guest, 3 * Buffer::capacity);
  model.settle();
  EXPECT_EQ(model.at(guest).written, 3 * Buffer::capacity);
}

TEST(Flow, HalfClosedStaysHalfClosed) {
  for (const Side first : {client, guest}) {
    FlowModel model;
    model.take(client, 1000);
    model.take(guest, 1000);
    model.end(first);
    model.settle();
    EXPECT_EQ(model.flow.state(first), State::shut);
    EXPECT_EQ(model.flow.state(other(first)), State::open);
    EXPECT_FALSE(model.at(first).shut);
    model.send(other(first), 500);
    model.settle();
    EXPECT_EQ(model.at(first).written, 500u);
    model.end(other(first));
    model.settle();
    EXPECT_EQ(model.outcome, Outcome::over);
  }
}

TEST(Flow, AnEndWaitsForTheBytesBeforeIt) {
  FlowModel model;
  model.send(client, 100);
  model.end(client);
  model.take(guest, 60);
  model.settle();
  // The end is behind bytes that the guest does not take yet: it is not even read.
  EXPECT_EQ(model.flow.state(client), State::open);
  EXPECT_FALSE(model.at(guest).shut);
  model.take(guest, 40);
  model.settle();
  EXPECT_TRUE(model.at(guest).shut);
}

TEST(Flow, AResetPassesWhatCameBeforeItAndThenResets) {
  FlowModel model;
  model.send(guest, 100);
  model.reset(guest);
  model.take(client, 1000);
  model.settle();
  EXPECT_EQ(model.outcome, Outcome::reset);
  EXPECT_EQ(model.at(client).written, 100u);
}

TEST(Flow, AResetDoesNotWaitForAStalledReader) {
  FlowModel model;
  model.send(guest, 100);
  model.settle();
  model.reset(guest);
  model.settle();
  EXPECT_EQ(model.outcome, Outcome::reset);
}

TEST(Flow, ABudgetEndsATurnAndTheNextGoesOn) {
  FlowModel model;
  model.take(guest, 100 * Buffer::capacity);
  model.send(client, 10 * Buffer::capacity);
  EXPECT_EQ(model.flow.pump(model, model.pool, 2 * Buffer::capacity), Outcome::more);
  EXPECT_EQ(model.at(guest).written, 2 * Buffer::capacity);
  model.settle();
  EXPECT_EQ(model.at(guest).written, 10 * Buffer::capacity);
}

TEST(Flow, LargeReadsMakeADirectionBulkAndManySmallOnesEndThat) {
  FlowModel model;
  model.take(guest, 1 << 30);
  model.send(client, Buffer::capacity);
  model.settle();
  EXPECT_FALSE(model.flow.bulk());
  model.send(client, 4 * Pipe::capacity);
  model.settle();
  EXPECT_TRUE(model.flow.bulk());
  EXPECT_EQ(model.pool.taken(), 0u);
  model.send(client, 5);
  model.settle();
  EXPECT_TRUE(model.flow.bulk());
  for (int small = 1; small < 16; ++small) {
    model.send(client, 5);
    model.settle();
  }
  EXPECT_FALSE(model.flow.bulk());
  EXPECT_EQ(model.at(guest).written, Buffer::capacity + 4 * Pipe::capacity + 16 * 5);
}

TEST(Flow, AStalledReaderStopsABulkSenderAtOnePipe) {
  FlowModel model;
  model.take(guest, 3 * Buffer::capacity);
  model.send(client, 100 * Pipe::capacity);
  model.settle();
  EXPECT_TRUE(model.flow.bulk());
  EXPECT_LE(model.flow.buffered(client), Pipe::capacity);
  EXPECT_GT(model.flow.buffered(client), 0u);
  EXPECT_EQ(model.pool.taken(), 1u);
}

TEST(Flow, WhatCannotBeSplicedIsCopied) {
  FlowModel model;
  model.at(client).splices = false;
  model.take(guest, 1 << 30);
  model.send(client, 100 * Buffer::capacity);
  model.settle();
  EXPECT_EQ(model.at(guest).written, 100 * Buffer::capacity);
}

// What may happen between two turns of the loop.
struct Event {
  const char* name;
  std::function<void(FlowModel&)> happen;
};

const std::array<Event, 12>& events() {
  static const std::array<Event, 12> all{{
      {"client sends 3", [](FlowModel& model) { model.send(client, 3); }},
      {"guest sends 3", [](FlowModel& model) { model.send(guest, 3); }},
      {"client sends more than a buffer",
       [](FlowModel& model) { model.send(client, Buffer::capacity + 5); }},
      {"guest sends exactly a buffer",
       [](FlowModel& model) { model.send(guest, Buffer::capacity); }},
      {"client ends", [](FlowModel& model) { model.end(client); }},
      {"guest ends", [](FlowModel& model) { model.end(guest); }},
      {"client resets", [](FlowModel& model) { model.reset(client); }},
      {"guest resets", [](FlowModel& model) { model.reset(guest); }},
      {"guest resets, unseen", [](FlowModel& model) { model.reset_unseen(guest); }},
      {"client takes 2", [](FlowModel& model) { model.take(client, 2); }},
      {"guest takes 2", [](FlowModel& model) { model.take(guest, 2); }},
      {"both take much",
       [](FlowModel& model) {
         model.take(client, 1 << 20);
         model.take(guest, 1 << 20);
       }},
  }};
  return all;
}

// Every order of four events, with a turn of the loop after each, after every two, and after all.
TEST(Flow, EveryOrderOfFourEvents) {
  constexpr std::size_t length = 4;
  const std::size_t count = events().size();
  std::size_t orders = 1;
  for (std::size_t i = 0; i < length; ++i)
    orders *= count;
  for (std::size_t order = 0; order < orders; ++order) {
    for (const std::size_t turn_every : {1u, 2u, 4u}) {
      FlowModel model;
      std::size_t rest = order;
      for (std::size_t step = 0; step < length && !model.finished(); ++step, rest /= count) {
        events()[rest % count].happen(model);
        if ((step + 1) % turn_every == 0 || step + 1 == length) model.settle();
      }
      if (!testing::Test::HasFailure()) continue;
      std::string story;
      for (std::size_t step = 0, left = order; step < length; ++step, left /= count)
        story += std::string(events()[left % count].name) + "; ";
      FAIL() << story << "a turn every " << turn_every;
    }
  }
}

TEST(Flow, RandomLongStoriesWithFaults) {
  for (unsigned seed = 1; seed <= 1500; ++seed) {
    FlowModel model;
    std::mt19937 random(seed);
    model.at(client).splices = seed % 7 != 0;
    if (seed % 2 == 0) model.most_spliced = 1 + random() % Pipe::capacity;
    // Some stories are of bulk.
    const std::size_t scale = seed % 5 == 0 ? 12 : 3;
    if (seed % 3 == 0)
      model.fault = [&random] {
        constexpr int faults[] = {EINTR, ENOBUFS, ENOMEM};
        return random() % 4 == 0 ? faults[random() % 3] : 0;
      };
    for (int step = 0; step < 80 && !model.finished(); ++step) {
      // Ends and resets are rare, so that stories are long.
      const Side side = random() % 2 ? client : guest;
      const std::size_t size =
          random() % 4 == 0 ? random() % (scale * Buffer::capacity) : random() % 9;
      switch (random() % 16) {
        case 0:
          if (random() % 6 == 0) model.end(side);
          break;
        case 1:
          if (random() % 12 == 0) model.reset(side);
          if (random() % 12 == 0) model.reset_unseen(side);
          break;
        case 2:
        case 3:
        case 4:
        case 5:
        case 6:
        case 7:
          model.take(side, size);
          break;
        default:
          model.send(side, size);
      }
      if (random() % 3 != 0) model.settle(1 + random() % (2 * Buffer::capacity));
      if (testing::Test::HasFailure()) FAIL() << "seed " << seed << " step " << step;
    }
    if (model.finished()) continue;
    // In the end everything arrives, or a reset did.
    for (const Side side : {client, guest}) {
      model.end(side);
      model.take(side, 1 << 30);
    }
    model.settle();
    ASSERT_TRUE(model.finished() && !HasFailure()) << "seed " << seed;
  }
}

}  // namespace
}  // namespace vf
