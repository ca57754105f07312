// SPDX-License-Identifier: LGPL-2.1-or-later

#include "daemon/agent_story.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <sstream>

#include "bus_lab.h"

namespace vf {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::SizeIs;

constexpr std::chrono::hours never{1};

std::vector<std::string> lines_of(const std::function<void()>& what) {
  testing::internal::CaptureStderr();
  what();
  std::istringstream text(testing::internal::GetCapturedStderr());
  std::vector<std::string> lines;
  for (std::string line; std::getline(text, line);)
    lines.push_back(line);
  return lines;
}

void flap(AgentStory& story, int times) {
  for (int time = 0; time < times; ++time) {
    story.came("virt-forward-guest 1");
    story.went("it does not keep to the protocol");
  }
}

TEST(AgentStory, WhatHappensNowAndThenIsToldInFull) {
  AgentStory story("web", never);
  EXPECT_THAT(lines_of([&] { flap(story, 1); }),
              ElementsAre(HasSubstr("the guest's agent answers domain=web"),
                          HasSubstr("the guest's agent is away domain=web reason=")));
  EXPECT_THAT(lines_of([&] { flap(story, 2); }), SizeIs(4));
}

TEST(AgentStory, AnAgentThatComesAndGoesIsALineWhenItBeginsAndOneWhenItIsOver) {
  AgentStory story("web", never);
  lines_of([&] { flap(story, 3); });
  EXPECT_THAT(lines_of([&] { flap(story, 1); }),
              ElementsAre(HasSubstr("answers"), HasSubstr("comes and goes")));
  EXPECT_THAT(lines_of([&] { flap(story, 1000); }), IsEmpty());
  EXPECT_THAT(lines_of([&] { story.end(); }),
              ElementsAre(HasSubstr("is away and stays so domain=web went=1004")));
  EXPECT_THAT(lines_of([&] { story.end(); }), IsEmpty());
  EXPECT_THAT(lines_of([&] { flap(story, 1); }), SizeIs(2));
}

TEST(AgentStory, ItIsOverWhenNothingHappens) {
  AgentStory story("web", std::chrono::milliseconds(1));
  const auto lines = lines_of([&] {
    flap(story, 5);
    story.came("virt-forward-guest 1");
    bool rested = false;
    const Source later = after(std::chrono::milliseconds(1), [&] { rested = true; });
    iterate_until([&] { return rested; });
  });
  ASSERT_FALSE(lines.empty());
  EXPECT_THAT(lines.back(), HasSubstr("answers and stays domain=web went=5"));
}

}  // namespace
}  // namespace vf
