// SPDX-License-Identifier: LGPL-2.1-or-later

#include "cli/live_table.h"

#include <gmock/gmock.h>

#include "bus_fake.h"
#include "cli/table.h"

namespace vf {
namespace {

using testing::HasSubstr;
using testing::Not;

std::vector<std::string> texts(const std::vector<ScreenLine>& lines) {
  std::vector<std::string> list;
  for (const ScreenLine& line : lines) {
    std::string text;
    for (const Span& span : line)
      text += span.text;
    list.push_back(text);
  }
  return list;
}

class Live : public testing::Test {
 protected:
  void add(const std::string& path, int port, const std::string& domain = "web") {
    ForwardView view = fake_forward(path);
    view.host_port = Port::from(port);
    view.requested_port = view.host_port;
    view.url = "http://127.0.0.1:" + std::to_string(port);
    table_.set(path, domain, view);
  }
  LiveTable table_;
};

TEST_F(Live, ShowsWhatListShowsAndCounts) {
  add("a", 8080);
  add("b", 81, "db");
  table_.set_counters({{"a", {2, 1'234'567, 12}}, {"gone", {7, 7, 7}}});
  EXPECT_THAT(texts(table_.show(100, 10)),
              testing::ElementsAre(
                  "2 forwards, 2 active, 2 connections",
                  "DOMAIN  NAME  URL                    GUEST  WAY  STATE    CONN     IN    OUT",
                  "db      -     http://127.0.0.1:81    80     tcp  active                     ",
                  "web     -     http://127.0.0.1:8080  80     tcp  active      2   1.2M     12"));
}

TEST_F(Live, NoLineIsWiderThanTheScreenAndNoneIsTooMany) {
  for (int i = 0; i < 30; ++i)
    add("path" + std::to_string(i), 1000 + i, "a domain with a long name, 漢字漢字漢字");
  ForwardView waiting = fake_forward("w");
  waiting.state = ForwardState::waiting;
  waiting.reason = std::string(500, 'x') + "é漢";
  table_.set("w", "z", waiting);
  for (std::size_t width = 0; width < 140; ++width)
    for (const std::size_t height : {0u, 1u, 2u, 3u, 24u, 100u}) {
      const auto lines = texts(table_.show(width, height));
      EXPECT_LE(lines.size(), height);
      for (const std::string& line : lines)
        EXPECT_LE(display_width(line), width) << width << ' ' << line;
    }
}

TEST_F(Live, ColumnsGoAndTheUrlAndTheStateStay) {
  add("a", 8080);
  const auto head = [&](std::size_t width) { return texts(table_.show(width, 3))[1]; };
  EXPECT_EQ(head(70), "DOMAIN  NAME  URL                    GUEST  WAY  STATE    CONN     IN");
  EXPECT_EQ(head(55), "DOMAIN  NAME  URL                    GUEST  WAY  STATE");
  EXPECT_EQ(head(30), "URL                    STATE");
  EXPECT_EQ(texts(table_.show(24, 3))[2], "http://127.0.0.…  active");
  EXPECT_EQ(texts(table_.show(16, 3))[2], "http://127.…  a…");
}

TEST_F(Live, AColumnStaysAsWideAsItWasUntilTheScreenChanges) {
  add("a", 8080);
  add("b", 8081, "a-long-domain");
  const std::string before = texts(table_.show(100, 5))[1];
  table_.remove("b");
  EXPECT_EQ(texts(table_.show(100, 5))[1], before);
  table_.fit();
  EXPECT_NE(texts(table_.show(100, 5))[1], before);
}

TEST_F(Live, ScrollsWithinWhatThereIs) {
  for (int i = 0; i < 10; ++i)
    add("path" + std::to_string(i), 1000 + i);
  EXPECT_THAT(texts(table_.show(100, 5))[0], HasSubstr("lines 1-3 of 10"));
  table_.scroll(2);
  EXPECT_THAT(texts(table_.show(100, 5))[2], HasSubstr(":1002"));
  table_.scroll(1000);
  EXPECT_THAT(texts(table_.show(100, 5)).back(), HasSubstr(":1009"));
  table_.scroll(-3);
  EXPECT_THAT(texts(table_.show(100, 5)).back(), HasSubstr(":1006"));
  EXPECT_THAT(texts(table_.show(100, 50))[0], Not(HasSubstr("lines")));
}

TEST_F(Live, AReasonStandsBelowAndAChangeIsInPlace) {
  add("a", 8080);
  add("b", 8081);
  ForwardView waiting = fake_forward("a");
  waiting.state = ForwardState::waiting;
  waiting.reason = "no \x1b[31m address";
  table_.set("a", "web", waiting);
  const auto lines = table_.show(100, 10);
  EXPECT_THAT(texts(lines)[0], HasSubstr("1 active"));
  EXPECT_THAT(texts(lines)[2], HasSubstr("waiting"));
  EXPECT_EQ(texts(lines)[3], "    no \\x1b[31m address");
  EXPECT_EQ(lines[2][5].style, Style::yellow);
  table_.set_ports(3, 1);
  EXPECT_THAT(texts(table_.show(100, 10))[0], HasSubstr("3 ports not forwarded (1 asks)"));
}

TEST_F(Live, AnEmptyOneSaysWhatToDo) {
  EXPECT_THAT(texts(table_.show(80, 10)).back(), HasSubstr("virt-forward add"));
}

TEST(ShortNumber, FitsFiveColumns) {
  const std::pair<std::uint64_t, const char*> cases[] = {
      {0, "0"},          {9'999, "9999"},     {10'000, "10k"},      {999'499, "999k"},
      {999'500, "1.0M"}, {1'234'567, "1.2M"}, {99'900'000, "100M"}, {UINT64_MAX, "18E"}};
  for (const auto& [number, text] : cases)
    EXPECT_EQ(short_number(number), text);
}

}  // namespace
}  // namespace vf
