// SPDX-License-Identifier: LGPL-2.1-or-later

#include "cli/nearest.h"

#include <gtest/gtest.h>

namespace vf {
namespace {

const std::vector<std::string> verbs{"add", "remove", "list", "url", "watch", "auto"};

TEST(Nearest, OneSlipOrTwo) {
  const std::pair<const char*, const char*> cases[] = {
      {"lst", "list"},       {"remvoe", "remove"}, {"wacth", "watch"}, {"addd", "add"},
      {"removed", "remove"}, {"rmeoev", "remove"}, {"ad", "add"},      {"lits", "list"}};
  for (const auto& [word, meant] : cases)
    EXPECT_EQ(nearest(word, verbs), meant) << word;
}

TEST(Nearest, AnotherWordIsNone) {
  for (const char* word : {"", "x", "xyz", "frobnicate", "watchdogs", "aa"})
    EXPECT_EQ(nearest(word, verbs), std::nullopt) << word;
  EXPECT_EQ(nearest("list", {}), std::nullopt);
  EXPECT_EQ(nearest("-", {"-"}), std::nullopt) << "itself, as the table has it for several";
  EXPECT_EQ(nearest(std::string(100'000, 'a'), verbs), std::nullopt);
}

TEST(Nearest, TheNearestWinsAndThenTheFirst) {
  EXPECT_EQ(nearest("web-2", {"web-10", "web-1", "web-3"}), "web-1");
  EXPECT_EQ(nearest("webb", {"wxbbx", "web"}), "web");
  EXPECT_EQ(did_you_mean("wbe", {"web", "db"}), "; did you mean \"web\"?");
  EXPECT_EQ(did_you_mean("mail", {"web", "db"}), "");
}

}  // namespace
}  // namespace vf
