// SPDX-License-Identifier: LGPL-2.1-or-later

#include "base/text.h"

#include <gtest/gtest.h>

namespace vf {
namespace {

TEST(CodePoint, IsTakenOffTheFront) {
  std::string_view text = "aé日😀";
  EXPECT_EQ(take_code_point(text), U'a');
  EXPECT_EQ(take_code_point(text), U'é');
  EXPECT_EQ(take_code_point(text), U'日');
  EXPECT_EQ(take_code_point(text), U'😀');
  EXPECT_EQ(take_code_point(text), std::nullopt);
}

TEST(CodePoint, RefusesWhatIsNotUtf8) {
  for (const std::string_view bytes :
       {"\x80", "\xbf", "\xc0\xaf", "\xc1\xbf", "\xe0\x80\xaf", "\xf0\x80\x80\xaf", "\xed\xa0\x80",
        "\xed\xbf\xbf", "\xf4\x90\x80\x80", "\xf5\x80\x80\x80", "\xff", "\xe2\x82", "\xc3",
        "\xe2\x28\xa1", "\xf0\x9f\x98"}) {
    std::string_view text = bytes;
    EXPECT_EQ(take_code_point(text), std::nullopt);
    EXPECT_EQ(text, bytes);
    EXPECT_FALSE(is_utf8(bytes));
    EXPECT_EQ(count_characters(std::string("a") + std::string(bytes)), std::nullopt);
  }
}

TEST(CodePoint, KnowsTheEdges) {
  for (const char* text : {"\x7f", "\xc2\x80", "\xdf\xbf", "\xe0\xa0\x80", "\xed\x9f\xbf",
                           "\xee\x80\x80", "\xf0\x90\x80\x80", "\xf4\x8f\xbf\xbf"})
    EXPECT_EQ(count_characters(text), 1u);
  EXPECT_TRUE(is_utf8(""));
  EXPECT_EQ(count_characters(std::string_view("a\0b", 3)), 3u);
}

TEST(PlainText, MayBeInAnyScript) {
  for (const char* text : {"", "web 1", "büro-日本-😀", "שלום", "\xc2\xa0", "$(id) \"'<&>\\"})
    EXPECT_TRUE(is_plain_text(text)) << text;
}

TEST(PlainText, StaysOnItsLineAndDoesNothing) {
  for (const char* text :
       {"\n", "\t", "\r", "\x1b[2J", "\x7f", "\xc2\x85", "\xc2\x9b", "\xe2\x80\xa8", "\xe2\x80\xa9",
        "\xe2\x80\xae", "\xe2\x81\xa6", "\xe2\x80\x8e", "\xd8\x9c", "\xef\xbf\xbe",
        "\xf0\x9f\xbf\xbf", "\xef\xb7\xaf", "\xff"})
    EXPECT_FALSE(is_plain_text(text));
  EXPECT_FALSE(is_plain_text(std::string_view("\0", 1)));
}

}  // namespace
}  // namespace vf
