// SPDX-License-Identifier: LGPL-2.1-or-later

#include "daemon/qemu_agent_reader.h"

#include <glib.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <deque>

namespace vf {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

class QemuAgentReaderTest : public testing::Test {
 protected:
  using Done = std::function<void(Result<std::string>)>;

  void turn() {
    const gint64 end = g_get_monotonic_time() + 10 * G_USEC_PER_SEC;
    while (commands.empty() && g_get_monotonic_time() < end)
      g_main_context_iteration(nullptr, TRUE);
  }
  // The agent's answer to the oldest question.
  void agent_says(Result<std::string> reply) {
    ASSERT_FALSE(commands.empty());
    const Done done = std::move(commands.front().second);
    commands.pop_front();
    done(std::move(reply));
  }
  std::string asked() const { return commands.empty() ? "nothing" : commands.front().first; }
  // The relay's answer to what it was given last.
  void relay_says(std::int64_t number, bool understood = true) {
    const RelayAgentReply given = handed.back();
    handed.clear();
    reader.answered({"web", given.sequence, understood, number});
  }
  // One file, from its opening to its closing.
  void one_file(const std::string& path) {
    EXPECT_THAT(asked(), HasSubstr(path));
    agent_says(std::string("{\"return\": 1000}"));
    relay_says(1000);
    EXPECT_THAT(asked(), HasSubstr("guest-file-read"));
    EXPECT_THAT(asked(), HasSubstr("\"handle\":1000"));
    agent_says(std::string("first chunk"));
    relay_says(0);
    agent_says(std::string("last chunk"));
    EXPECT_EQ(handed.back().text, "last chunk");
    relay_says(1);
    EXPECT_THAT(asked(), HasSubstr("guest-file-close"));
    agent_says(std::string("{\"return\": {}}"));
  }

  std::deque<std::pair<std::string, Done>> commands;
  std::vector<RelayAgentReply> handed;
  std::vector<std::string> told;
  bool relay_takes = true;
  QemuAgentReader reader{
      {[this](const std::string&, std::string command, Done done) {
         commands.emplace_back(std::move(command), std::move(done));
       },
       [this](RelayAgentReply reply) {
         handed.push_back(std::move(reply));
         return relay_takes;
       },
       [this](const std::string&, const std::string& problem) { told.push_back(problem); }}};
};

TEST_F(QemuAgentReaderTest, ReadsBothTablesAndThenAgain) {
  reader.watch("web", false);
  turn();
  EXPECT_EQ(handed.front().step, RelayAgentStep::begin);
  one_file("/proc/net/tcp\"");
  one_file("/proc/net/tcp6\"");
  EXPECT_EQ(handed.back().step, RelayAgentStep::end);
  EXPECT_THAT(told, ElementsAre(""));
  EXPECT_THAT(commands, IsEmpty());
  turn();
  EXPECT_THAT(asked(), HasSubstr("/proc/net/tcp\""));
}

TEST_F(QemuAgentReaderTest, UdpWhereItIsWanted) {
  reader.watch("web", true);
  turn();
  for (const char* path :
       {"/proc/net/tcp\"", "/proc/net/tcp6\"", "/proc/net/udp\"", "/proc/net/udp6\""})
    one_file(path);
  EXPECT_EQ(handed.back().step, RelayAgentStep::end);
}

TEST_F(QemuAgentReaderTest, ARefusalIsToldOnceAndTriedAgain) {
  reader.watch("web", false);
  for (int i = 0; i < 2; ++i) {
    turn();
    agent_says(Unexpected(ErrorCode::failed, "the command has been disabled"));
  }
  EXPECT_THAT(told, ElementsAre("the command has been disabled"));
}

TEST_F(QemuAgentReaderTest, WhatIsNotUnderstoodEndsTheReading) {
  reader.watch("web", false);
  turn();
  agent_says(std::string("\x1b[31mhello"));
  relay_says(0, false);
  EXPECT_THAT(told, ElementsAre("its answer is not understood"));
  EXPECT_THAT(commands, IsEmpty());
}

TEST_F(QemuAgentReaderTest, AnswersThatNobodyWaitsForAreNothing) {
  reader.watch("web", false);
  turn();
  reader.answered({"web", 4711, true, 1});
  reader.answered({"other", 1, true, 1});
  EXPECT_THAT(asked(), HasSubstr("guest-file-open"));
  EXPECT_EQ(commands.size(), 1u);
}

TEST_F(QemuAgentReaderTest, AFileWithoutEndIsLeft) {
  reader.watch("web", false);
  turn();
  agent_says(std::string("{\"return\": 7}"));
  relay_says(7);
  int chunks = 0;
  while (asked().find("guest-file-read") != std::string::npos && chunks < 1000) {
    agent_says(std::string("more"));
    relay_says(0);
    ++chunks;
  }
  EXPECT_LT(chunks, 100);
  EXPECT_THAT(asked(), HasSubstr("guest-file-close"));
}

TEST_F(QemuAgentReaderTest, AForgottenGuestsAnswerComesToNothing) {
  reader.watch("web", false);
  turn();
  reader.forget("web");
  agent_says(std::string("{\"return\": 1000}"));
  EXPECT_THAT(told, IsEmpty());
  EXPECT_EQ(handed.size(), 1u);
}

}  // namespace
}  // namespace vf
