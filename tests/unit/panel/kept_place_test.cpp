// SPDX-License-Identifier: LGPL-2.1-or-later

#include "panel/kept_place.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <array>
#include <ostream>
#include <string>
#include <utility>

namespace vf::panel {

void PrintTo(const KeptPlace::Goal& goal, std::ostream* out) {
  *out << goal.key << (goal.focus ? " with the keyboard" : "");
}

namespace {

using testing::Eq;
using testing::Optional;
using Goal = KeptPlace::Goal;

// A list whose rows are called by a letter each, and a toolkit that does what it is told.
class PanelKeptPlace : public testing::Test {
 protected:
  std::optional<Goal> change(std::string now) {
    const std::string before = std::exchange(rows, std::move(now));
    const auto goal = kept.goal(at, letters(before), letters(rows), time);
    const bool stays = !at.key.empty() && rows.find(at.key) != std::string::npos;
    if (goal)
      go(goal->key, goal->focus);
    else if (!stays)
      at = {};
    kept.settle(at);
    return goal;
  }
  void go(const std::string& key, bool focus = true) {
    at = {key, focus ? &widgets[static_cast<std::size_t>(key[0] - 'a')] : nullptr};
  }
  static std::vector<std::string_view> letters(const std::string& word) {
    std::vector<std::string_view> keys;
    for (std::size_t i = 0; i < word.size(); ++i)
      keys.push_back(std::string_view(word).substr(i, 1));
    return keys;
  }

  KeptPlace kept;
  KeptPlace::Time time;
  std::string rows = "abcde";
  std::array<char, 26> widgets{};
  Place at;
};

TEST_F(PanelKeptPlace, IsNoneWhereNobodyIsAtARow) {
  EXPECT_THAT(change("abde"), Eq(std::nullopt));
  EXPECT_THAT(change("abcde"), Eq(std::nullopt));
}

TEST_F(PanelKeptPlace, StaysAtARowThatStaysOrMoves) {
  go("c");
  EXPECT_THAT(change("acbde"), Optional(Goal{"c", true}));
  go("c", false);
  EXPECT_THAT(change("cxyz"), Optional(Goal{"c", false}));
}

TEST_F(PanelKeptPlace, GoesToTheNextRowWithTheKeyboard) {
  go("c");
  EXPECT_THAT(change("abde"), Optional(Goal{"d", true}));
  EXPECT_THAT(change("abe"), Optional(Goal{"e", true}));
  EXPECT_THAT(change("ab"), Optional(Goal{"b", true}));
}

TEST_F(PanelKeptPlace, SelectsNoOtherWithoutTheKeyboard) {
  go("c", false);
  EXPECT_THAT(change("abde"), Eq(std::nullopt));
  EXPECT_EQ(at, Place());
}

TEST_F(PanelKeptPlace, GoesBackToARowThatComesBack) {
  go("c");
  change("abde");
  EXPECT_THAT(change("abdex"), Optional(Goal{"d", true})) << "another change";
  EXPECT_THAT(change("abdec"), Optional(Goal{"c", true}));
  EXPECT_THAT(change("abcde"), Optional(Goal{"c", true})) << "and stays there";
}

TEST_F(PanelKeptPlace, GoesBackWithoutTheKeyboard) {
  go("c", false);
  change("abde");
  EXPECT_THAT(change("abdec"), Optional(Goal{"c", false}));
}

TEST_F(PanelKeptPlace, GoesBackWhereTheNeighbourWentToo) {
  go("c");
  change("abde");
  change("abe");
  EXPECT_THAT(change("abcde"), Optional(Goal{"c", true}));
}

TEST_F(PanelKeptPlace, StaysWhereSomebodyHasGone) {
  go("c");
  change("abde");
  go("a");
  EXPECT_THAT(change("abcde"), Optional(Goal{"a", true}));
  EXPECT_THAT(change("abde"), Optional(Goal{"a", true})) << "the other is forgotten";
}

TEST_F(PanelKeptPlace, StaysWhereSomebodyHasSelectedSomethingWithoutTheKeyboard) {
  go("c", false);
  change("abde");
  go("a", false);
  EXPECT_THAT(change("abcde"), Optional(Goal{"a", false}));
}

TEST_F(PanelKeptPlace, StaysAtAButtonOfTheNeighbour) {
  go("c");
  change("abde");
  at.focus = &widgets[20];
  EXPECT_THAT(change("abcde"), Optional(Goal{"d", true}));
}

TEST_F(PanelKeptPlace, StaysOutsideOfTheListWhereSomebodyHasGone) {
  go("c");
  change("abde");
  at.focus = nullptr;  // to the search
  EXPECT_THAT(change("abcde"), Optional(Goal{"d", false}));
}

TEST_F(PanelKeptPlace, IsForgottenAfterAWhile) {
  go("c");
  change("abde");
  time += KeptPlace::patience + std::chrono::seconds(1);
  EXPECT_THAT(change("abcde"), Optional(Goal{"d", true}));
}

TEST_F(PanelKeptPlace, FetchesNoKeyboardIntoAListThatWasEmpty) {
  go("c");
  EXPECT_THAT(change(""), Eq(std::nullopt));
  EXPECT_THAT(change("abcde"), Optional(Goal{"c", false}));
}

}  // namespace
}  // namespace vf::panel
