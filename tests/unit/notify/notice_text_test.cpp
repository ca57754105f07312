// SPDX-License-Identifier: LGPL-2.1-or-later

#include "notify/notice_text.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace vf {
namespace {

using testing::HasSubstr;
using testing::Not;

News news(News::Kind kind, unsigned port, const std::string& process) {
  News one;
  one.kind = kind;
  one.domain = "web";
  one.port = *Port::from(port);
  one.process = process;
  if (kind == News::Kind::forwarded) one.url = "http://127.0.0.1:" + std::to_string(port);
  return one;
}

TEST(NoticeText, OfOneForward) {
  const auto kind = News::Kind::forwarded;
  const NoticeText named = text_of({"1", {news(kind, 3000, "node")}});
  EXPECT_EQ(named.title, "web: node, port 3000");
  EXPECT_EQ(named.body, "http://127.0.0.1:3000");
  EXPECT_EQ(text_of({"1", {news(kind, 3000, "")}}).title, "web: port 3000");
}

TEST(NoticeText, OfSeveral) {
  std::vector<News> all;
  for (unsigned port = 3000; port < 3007; ++port)
    all.push_back(news(News::Kind::forwarded, port, port == 3001 ? "" : "node"));
  const NoticeText words = text_of({"1", all});
  EXPECT_EQ(words.title, "7 ports of web");
  EXPECT_EQ(words.body,
            "node: http://127.0.0.1:3000\nport 3001: http://127.0.0.1:3001\n"
            "node: http://127.0.0.1:3002\nnode: http://127.0.0.1:3003\n"
            "node: http://127.0.0.1:3004\nand 2 more");
}

TEST(NoticeText, OfQuestions) {
  const auto kind = News::Kind::asking;
  const NoticeText one = text_of({"1", {news(kind, 3000, "node")}});
  EXPECT_EQ(one.title, "web: forward port 3000 of node?");
  EXPECT_EQ(one.body, "Nothing is forwarded before you answer.");
  News udp = news(kind, 53, "");
  udp.protocol = Protocol::udp;
  EXPECT_EQ(text_of({"1", {udp}}).title, "web: forward port 53/udp?");
  const NoticeText two = text_of({"1", {news(kind, 3000, "node"), news(kind, 3001, "node")}});
  EXPECT_EQ(two.title, "web: forward 2 ports?");
  EXPECT_EQ(two.body, "node: port 3000\nnode: port 3001");
}

TEST(NoticeText, OfAGuestIsTextAndBounded) {
  News evil = news(News::Kind::forwarded, 3000, "<b>x</b>&lt;\n\x1b[31m\u202e");
  evil.domain = "<a href='http://evil'>" + std::string(1000, 'd');
  const NoticeText words = text_of({"1", {evil, evil}});
  for (const std::string& text : {words.title, words.body, text_of({"1", {evil}}).title}) {
    EXPECT_THAT(text, Not(HasSubstr("<")));
    EXPECT_THAT(text, Not(HasSubstr(">")));
    EXPECT_THAT(text, Not(HasSubstr("&")));
    EXPECT_THAT(text, Not(HasSubstr("\x1b")));
    EXPECT_THAT(text, Not(HasSubstr("\u202e")));
    EXPECT_LT(text.size(), 1000u);
  }
  EXPECT_EQ(notification_text("a<b>&c", 64), "a\u2039b\u203a\uff06c");
}

}  // namespace
}  // namespace vf
