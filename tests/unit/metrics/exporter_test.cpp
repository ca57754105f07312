// SPDX-License-Identifier: LGPL-2.1-or-later

#include "metrics/exporter.h"

#include <gtest/gtest.h>

#include "sample.h"

namespace vf {
namespace {

using namespace test;
using std::chrono::milliseconds;

struct ExporterTest : testing::Test {
  Reading next{sample(), {}};
  int readings = 0;
  std::vector<std::string> logged;
  std::chrono::steady_clock::time_point now{};
  Exporter exporter{[this] {
                      ++readings;
                      now += milliseconds(300);  // it takes its time
                      return next;
                    },
                    Detail::domain, [this](const std::string& line) { logged.push_back(line); },
                    [this] { return now; }};
};

TEST_F(ExporterTest, AReadingServesASecond) {
  const std::string first = exporter.text();
  next.snapshot.up = false;
  now += milliseconds(999);
  EXPECT_EQ(exporter.text(), first);
  EXPECT_EQ(readings, 1);
  now += milliseconds(1);
  EXPECT_NE(exporter.text(), first);
  EXPECT_EQ(readings, 2);
}

TEST_F(ExporterTest, AProblemIsToldOnce) {
  const auto scrape = [this](const std::string& problem) {
    next.problem = problem;
    exporter.text();
    now += std::chrono::seconds(2);
  };
  for (const char* problem : {"", "no", "no", "", "no", "other"})
    scrape(problem);
  EXPECT_EQ(logged, (std::vector<std::string>{"no", "no", "other"}));
}

}  // namespace
}  // namespace vf
