// SPDX-License-Identifier: LGPL-2.1-or-later

#include "metrics/totals.h"

#include <gtest/gtest.h>

#include "sample.h"

namespace vf {
namespace {

using namespace test;

Snapshot snapshot(const std::map<std::string, ForwardCounters>& counted) {
  Snapshot snapshot;
  snapshot.up = true;
  for (const auto& [path, counters] : counted)
    snapshot.forwards[path] = {sample_forward("web", path), counters};
  return snapshot;
}

ForwardCounters bytes(std::optional<std::uint64_t> in) {
  return {0, in, in, in, in};
}

TEST(Totals, AreOfWhatIsCountedWhileTheyAreKept) {
  Totals totals(Detail::domain);
  totals.take(snapshot({{"/a", bytes(100)}}));
  EXPECT_EQ(totals.totals().at("web"), TrafficTotals());
  totals.take(snapshot({{"/a", bytes(130)}, {"/b", bytes(4)}}));  // b began in between
  EXPECT_EQ(totals.totals().at("web"), (TrafficTotals{34, 34, 34, 34}));
}

TEST(Totals, NeverGoBack) {
  Totals totals(Detail::domain);
  totals.take(snapshot({}));
  totals.take(snapshot({{"/a", bytes(100)}, {"/b", bytes(10)}}));
  totals.take(snapshot({{"/b", bytes(11)}}));  // a has gone
  EXPECT_EQ(totals.totals().at("web").bytes_in, 111u);
  totals.take(snapshot({{"/a", bytes(5)}, {"/b", bytes(11)}}));  // and is there anew
  EXPECT_EQ(totals.totals().at("web").bytes_in, 116u);
  totals.take(snapshot({{"/a", bytes(2)}, {"/b", bytes(11)}}));  // the relay began anew
  EXPECT_EQ(totals.totals().at("web").bytes_in, 118u);
}

TEST(Totals, WhatIsUnknownStays) {
  Totals totals(Detail::domain);
  totals.take(snapshot({{"/a", bytes(0)}}));
  totals.take(snapshot({{"/a", bytes(50)}}));
  totals.take(snapshot({{"/a", bytes({})}}));  // past the relay
  EXPECT_EQ(totals.totals().at("web").bytes_in, 50u);
  totals.take(snapshot({{"/a", bytes(60)}}));
  EXPECT_EQ(totals.totals().at("web").bytes_in, 60u);
}

TEST(Totals, OutliveTheDaemon) {
  Totals totals(Detail::domain);
  totals.take(snapshot({{"/a", bytes(0)}}));
  totals.take(snapshot({{"/a", bytes(50)}}));
  totals.take({});  // it is not there
  totals.take(snapshot({{"/a", bytes(60)}}));
  EXPECT_EQ(totals.totals().at("web").bytes_in, 60u);
}

TEST(Totals, OfADomainThatWentAreForgotten) {
  Totals totals(Detail::domain);
  totals.take(snapshot({{"/a", bytes(0)}}));
  totals.take(snapshot({}));
  EXPECT_TRUE(totals.totals().empty());
}

TEST(Totals, OfTheHostAreThereFromTheBeginning) {
  Totals totals(Detail::host);
  totals.take(snapshot({}));
  EXPECT_EQ(totals.totals().at(""), TrafficTotals());
  totals.take(snapshot({{"/a", bytes(3)}}));
  totals.take(snapshot({}));
  EXPECT_EQ(totals.totals().at("").bytes_out, 3u);
}

}  // namespace
}  // namespace vf
