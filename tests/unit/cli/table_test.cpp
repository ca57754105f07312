// SPDX-License-Identifier: LGPL-2.1-or-later

#include "cli/table.h"

#include <gtest/gtest.h>

namespace vf {
namespace {

TEST(DisplayWidth, IsWhatATerminalShows) {
  EXPECT_EQ(display_width(""), 0u);
  EXPECT_EQ(display_width("web"), 3u);
  EXPECT_EQ(display_width("Bücher"), 6u);
  EXPECT_EQ(display_width("u\u0308"), 1u);
  EXPECT_EQ(display_width("日本"), 4u);
  EXPECT_EQ(display_width("\xff"), 1u);
}

TEST(Table, AlignsByDisplayWidth) {
  Table table({"DOMAIN", "STATE"});
  table.add({{"日本語のウェブ"}, {"active"}});
  table.add({{"u\u0308ber"}, {"waiting"}}, "no address");
  EXPECT_EQ(table.render(false, false),
            "DOMAIN          STATE\n"
            "日本語のウェブ  active\n"
            "u\u0308ber            waiting  no address\n");
  EXPECT_EQ(table.render(false, true),
            "DOMAIN          STATE\n"
            "日本語のウェブ  active\n"
            "u\u0308ber            waiting\n"
            "    no address\n");
}

TEST(Table, NamesCannotSpeakToTheTerminal) {
  Table table({"DOMAIN", "STATE"});
  table.add({{"a\x1b]0;x\x07\n\xe2\x80\xae"}, {"active", "32"}}, "b\x1b[1m");
  const std::string plain = table.render(false, true);
  EXPECT_EQ(plain.find('\x1b'), std::string::npos);
  EXPECT_EQ(plain.find('\x07'), std::string::npos);
  EXPECT_EQ(plain.find("\xe2\x80\xae"), std::string::npos);
  EXPECT_NE(plain.find("a\\x1b]0;x\\x07\\x0a\\xe2\\x80\\xae  active"), std::string::npos) << plain;
  const std::string colored = table.render(true, true);
  EXPECT_NE(colored.find("\x1b[32mactive\x1b[0m"), std::string::npos);
}

}  // namespace
}  // namespace vf
