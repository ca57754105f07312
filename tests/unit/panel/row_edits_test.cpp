// SPDX-License-Identifier: LGPL-2.1-or-later

#include "panel/row_edits.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <ostream>
#include <random>
#include <string>

namespace vf::panel {

void PrintTo(const Splice& splice, std::ostream* out) {
  *out << "at " << splice.at << " -" << splice.removed << " +" << splice.added;
}

namespace {

using testing::ElementsAre;
using testing::IsEmpty;

using Keys = std::vector<std::string_view>;

Keys letters(std::string_view word) {
  Keys keys;
  for (std::size_t i = 0; i < word.size(); ++i)
    keys.push_back(word.substr(i, 1));
  return keys;
}

std::vector<Splice> edits(std::string_view before, std::string_view now) {
  return splices(letters(before), letters(now));
}

TEST(PanelRowEdits, AreNoneWhereNothingChanged) {
  EXPECT_THAT(edits("", ""), IsEmpty());
  EXPECT_THAT(edits("abc", "abc"), IsEmpty());
}

TEST(PanelRowEdits, AreOneForWhatCameOrWentAtOnePlace) {
  EXPECT_THAT(edits("", "abc"), ElementsAre(Splice{0, 0, 3}));
  EXPECT_THAT(edits("abc", ""), ElementsAre(Splice{0, 3, 0}));
  EXPECT_THAT(edits("bcd", "abcd"), ElementsAre(Splice{0, 0, 1}));
  EXPECT_THAT(edits("abd", "abcd"), ElementsAre(Splice{2, 0, 1}));
  EXPECT_THAT(edits("abcd", "abd"), ElementsAre(Splice{2, 1, 0}));
  EXPECT_THAT(edits("abc", "axyc"), ElementsAre(Splice{1, 1, 2}));
}

TEST(PanelRowEdits, CountPlacesInTheNewList) {
  EXPECT_THAT(edits("abcdef", "xbcyzef"), ElementsAre(Splice{0, 1, 1}, Splice{3, 1, 2}));
}

TEST(PanelRowEdits, MoveOneAndLeaveTheOthers) {
  EXPECT_THAT(edits("abcdef", "fabcde"), ElementsAre(Splice{0, 0, 1}, Splice{6, 1, 0}));
  EXPECT_THAT(edits("fabcde", "abcdef"), ElementsAre(Splice{0, 1, 0}, Splice{5, 0, 1}));
}

// The longest common subsequence, by the book.
std::size_t most_kept(std::string_view before, std::string_view now) {
  std::vector<std::vector<std::size_t>> best(before.size() + 1,
                                             std::vector<std::size_t>(now.size() + 1));
  for (std::size_t i = 1; i <= before.size(); ++i)
    for (std::size_t j = 1; j <= now.size(); ++j)
      best[i][j] = before[i - 1] == now[j - 1] ? best[i - 1][j - 1] + 1
                                               : std::max(best[i - 1][j], best[i][j - 1]);
  return best[before.size()][now.size()];
}

TEST(PanelRowEdits, MakeTheNewListAndAreTheFewest) {
  std::mt19937 random(1);
  std::string alphabet = "abcdefghijklmno";
  const auto word = [&] {
    std::ranges::shuffle(alphabet, random);
    std::string some = alphabet.substr(0, random() % (alphabet.size() + 1));
    if (random() % 2) std::ranges::sort(some);
    return some;
  };
  for (int round = 0; round < 2000; ++round) {
    const std::string before = word();
    const std::string now = word();
    std::string list = before;
    std::size_t removed = 0;
    for (const Splice& edit : edits(before, now)) {
      ASSERT_LE(edit.at + edit.removed, list.size());
      list.replace(edit.at, edit.removed, now, edit.at, edit.added);
      removed += edit.removed;
    }
    ASSERT_EQ(list, now) << before;
    ASSERT_EQ(removed, before.size() - most_kept(before, now)) << before << ' ' << now;
  }
}

}  // namespace
}  // namespace vf::panel
