// SPDX-License-Identifier: LGPL-2.1-or-later

#include "base/printable.h"

#include <gtest/gtest.h>

namespace vf {
namespace {

TEST(Printable, OrdinaryTextIsKept) {
  EXPECT_EQ(printable("web 1 $(id) \"x\" büro 日本 😀"), "web 1 $(id) \"x\" büro 日本 😀");
}

TEST(Printable, TerminalEscapesAreSpelled) {
  EXPECT_EQ(printable("\x1b[2Jx\n\x7f"), "\\x1b[2Jx\\x0a\\x7f");
  EXPECT_EQ(printable("\xc2\x9b"), "\\xc2\\x9b");  // CSI as one character
}

TEST(Printable, TextThatReordersTheLineIsSpelled) {
  EXPECT_EQ(printable("a\xe2\x80\xae"
                      "b"),
            "a\\xe2\\x80\\xae"
            "b");
}

TEST(Printable, BytesThatAreNotUtf8AreSpelled) {
  EXPECT_EQ(printable("\xff"), "\\xff");
  EXPECT_EQ(printable("\xc0\xaf"), "\\xc0\\xaf");           // overlong
  EXPECT_EQ(printable("\xed\xa0\x80"), "\\xed\\xa0\\x80");  // surrogate
  EXPECT_EQ(printable("\xe2\x82"), "\\xe2\\x82");           // cut short
  EXPECT_EQ(printable("\xf4\x90\x80\x80"), "\\xf4\\x90\\x80\\x80");
}

TEST(Printable, NoncharactersAreSpelled) {
  EXPECT_EQ(printable("a\xef\xbf\xbe\xef\xbf\xbf"), "a\\xef\\xbf\\xbe\\xef\\xbf\\xbf");
  EXPECT_EQ(printable("\xf4\x8f\xbf\xbf"), "\\xf4\\x8f\\xbf\\xbf");
  EXPECT_EQ(printable("\xef\xb7\x90"), "\\xef\\xb7\\x90");
  EXPECT_EQ(printable("\xef\xb7\xb0\xef\xbf\xbd"), "\xef\xb7\xb0\xef\xbf\xbd");
}

TEST(Printable, CutsBetweenCharacters) {
  EXPECT_EQ(printable("abcdef", 6), "abcdef");
  EXPECT_EQ(printable("abcdefg", 6), "abc...");
  EXPECT_EQ(printable("aé\x1b"
                      "bcd",
                      7),
            "aé...");
}

}  // namespace
}  // namespace vf
