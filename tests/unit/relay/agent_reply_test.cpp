// SPDX-License-Identifier: LGPL-2.1-or-later

#include "relay/agent_reply.h"

#include <glib.h>
#include <gtest/gtest.h>

#include <limits>
#include <string>
#include <utility>
#include <vector>

#include "glib/ref.h"

namespace vf {
namespace {

using Step = RelayAgentStep;

const std::string header =
    "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout\n";
const std::string table =
    header +
    "   0: 0100007F:1538 00000000:0000 0A 00000000:00000000 00:00000000 00000000   108        0 1\n"
    "   1: 00000000:0016 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 2\n"
    "   2: 0A7AA8C0:0016 017AA8C0:D431 01 00000000:00000000 02:0009E6E9 00000000     0        0 "
    "3\n";

std::string chunk(const std::string& bytes, bool eof) {
  const std::string text =
      take_string(g_base64_encode(reinterpret_cast<const guchar*>(bytes.data()), bytes.size()));
  return R"({"return": {"count": )" + std::to_string(bytes.size()) + R"(, "buf-b64": ")" + text +
         R"(", "eof": )" + (eof ? "true" : "false") + "}}";
}

std::vector<std::string> told(ListenerLedger& ledger) {
  std::vector<std::string> all;
  while (auto news = ledger.next()) {
    if (const auto* listens = std::get_if<GuestListener>(&*news))
      all.push_back('+' + Endpoint{listens->key.address, listens->key.port}.text() +
                    (listens->key.udp ? "/udp" : "") + " uid " + std::to_string(listens->uid));
    else if (const auto* gone = std::get_if<ListenerKey>(&*news))
      all.push_back('-' + Endpoint{gone->address, gone->port}.text());
  }
  return all;
}

class AgentReply : public testing::Test {
 protected:
  AgentReplyReader::Answer read(Step step, const std::string& text = {}) {
    return reader_.read(step, text, ledger_);
  }
  // The whole file in one piece.
  std::vector<std::string> listeners(Step step, const std::string& file) {
    ledger_.clear();
    ledger_.begin();
    EXPECT_TRUE(read(step, chunk(file, true)).understood);
    return told(ledger_);
  }

  AgentReplyReader reader_;
  ListenerLedger ledger_;
};

TEST_F(AgentReply, NumbersComeBack) {
  EXPECT_EQ(read(Step::number, R"({"return": 1000})").number, 1000);
  EXPECT_EQ(read(Step::number, R"({"return": {"pid": 77}})").number, 77);
  const auto least = read(Step::number, R"({"return": -9223372036854775808})");
  EXPECT_TRUE(least.understood);
  EXPECT_EQ(least.number, std::numeric_limits<std::int64_t>::min());
  for (const char* const bad :
       {"", "{", "[]", "1000", "{}", R"({"return": {}})", R"({"return": "1000"})",
        R"({"return": 1.5})", R"({"return": null})", R"({"return": [1]})",
        R"({"return": {"pid": "x"}})", R"({"error": {"class": "CommandNotFound", "desc": "no"}})"})
    EXPECT_FALSE(read(Step::number, bad).understood) << bad;
}

TEST_F(AgentReply, SocketsThatListenAreRead) {
  EXPECT_EQ(listeners(Step::tcp4, table),
            (std::vector<std::string>{"+127.0.0.1:5432 uid 108", "+0.0.0.0:22 uid 0"}));
  const std::string tcp6 =
      header +
      "   0: 00000000000000000000000000000000:0050 00000000000000000000000000000000:0000 0A "
      "00000000:00000000 00:00000000 00000000    33        0 1 1\n"
      "   1: 00000000000000000000000001000000:0277 00000000000000000000000000000000:0000 0A "
      "00000000:00000000 00:00000000 00000000     0        0 1 1\n"
      "   2: 0000000000000000FFFF00000100007F:1F90 00000000000000000000000000000000:0000 0A "
      "00000000:00000000 00:00000000 00000000  1000        0 1 1\n";
  EXPECT_EQ(listeners(Step::tcp6, tcp6),
            (std::vector<std::string>{"+[::]:80 uid 33", "+[::1]:631 uid 0",
                                      "+127.0.0.1:8080 uid 1000"}));
  const std::string udp =
      header +
      "  10: 00000000:0035 00000000:0000 07 00000000:00000000 00:00000000 00000000  0 0 1 2 x 0\n"
      "  11: 00000000:0044 0102A8C0:0043 01 00000000:00000000 00:00000000 00000000  0 0 1 2 x 0\n";
  EXPECT_EQ(listeners(Step::udp4, udp), std::vector<std::string>{"+0.0.0.0:53/udp uid 0"});
}

TEST_F(AgentReply, PiecesMayEndAnywhere) {
  for (std::size_t length = 1; length < 200; length += 7) {
    ledger_.clear();
    EXPECT_TRUE(read(Step::begin).understood);
    for (std::size_t at = 0; at < table.size(); at += length) {
      const auto answer = read(Step::tcp4, chunk(table.substr(at, length), false));
      EXPECT_TRUE(answer.understood);
      EXPECT_EQ(answer.number, 0);
    }
    EXPECT_EQ(read(Step::tcp4, chunk("", true)).number, 1);
    EXPECT_TRUE(read(Step::end).understood);
    EXPECT_EQ(told(ledger_).size(), 2u) << length;
  }
}

TEST_F(AgentReply, AReadingReplacesTheOneBefore) {
  read(Step::begin);
  read(Step::tcp4, chunk(table, true));
  read(Step::end);
  told(ledger_);
  read(Step::begin);
  read(Step::tcp4, chunk(table.substr(0, header.size() + 98), true));
  EXPECT_TRUE(told(ledger_).empty());
  read(Step::end);
  EXPECT_EQ(told(ledger_), std::vector<std::string>{"-0.0.0.0:22"});
}

// What no kernel writes.
TEST_F(AgentReply, OtherLinesAreNoSockets) {
  const auto row = [](const std::string& local, const std::string& state = "0A",
                      const std::string& remote = "00000000:0000") {
    return "0: " + local + ' ' + remote + ' ' + state + " 0:0 0:0 0 0\n";
  };
  EXPECT_EQ(listeners(Step::tcp4, row("0100007F:0050")).size(), 1u);
  for (const std::string& line :
       {row("0100007F:0000"), row("0100007F:10050"), row("0100007F:"), row("0100007F"), row(":50"),
        row("0100007:0050"), row("0100007G:0050"), row("-100007F:0050"), row("0100007F:+050"),
        row("00000000000000000000000000000000:0050"), row("0100007F:0050", "0a"),
        row("0100007F:0050", "0A0"), row("0100007F:0050", "0A", "0100007F:0001"),
        "0: " + std::string(10'000, ' ') + row("0100007F:0050").substr(3),
        std::string("\n\n\0\n", 4), std::string("\xff\xfe\n"), std::string(60'000, 'x')})
    EXPECT_TRUE(listeners(Step::tcp4, line).empty()) << line.substr(0, 80);
}

TEST_F(AgentReply, OtherTextsAreNotUnderstood) {
  const std::string deep(50'000, '[');
  const std::string nested =
      R"({"return": {"pid": 5, "x": )" + std::string(20, '[') + std::string(20, ']') + "}}";
  EXPECT_FALSE(read(Step::number, nested).understood) << "the parser would recurse";
  std::string wide = R"({"return": )";
  for (int i = 0; i < 6000; ++i)
    wide += R"({"a":)";
  for (const std::string& bad :
       {std::string(), std::string(60 * 1024, '{'), deep, wide, std::string("{\"return\": {}}"),
        std::string(R"({"return": {"count": 3, "buf-b64": "MTIz"}})"),
        std::string(R"({"return": {"count": 4, "buf-b64": "MTIz", "eof": false}})"),
        std::string(R"({"return": {"count": -1, "buf-b64": "MTIz", "eof": false}})"),
        std::string(R"({"return": {"count": 3, "buf-b64": "MTIz", "eof": 1}})"),
        std::string(R"({"return": {"count": 3, "buf-b64": ["MTIz"], "eof": true}})"),
        std::string(R"({"return": {"count": 3, "buf-b64": null, "eof": true}})"),
        std::string(R"({"error": {"class": "GenericError", "desc": "handle"}})"),
        std::string("\xff\xfe\x00", 3)})
    EXPECT_FALSE(read(Step::tcp4, bad).understood) << bad.substr(0, 80);
}

// A file that does not end is as good as read; what it costs is bounded.
TEST_F(AgentReply, AnEndlessFileEnds) {
  std::string rows;
  for (unsigned port = 1; rows.size() < 40'000; ++port) {
    char row[80];
    g_snprintf(row, sizeof row, "0: 0100007F:%04X 00000000:0000 0A 0:0 0:0 0 0\n", port);
    rows += row;
  }
  read(Step::begin);
  std::size_t pieces = 1;
  while (read(Step::tcp4, chunk(rows, false)).number == 0)
    ++pieces;
  EXPECT_EQ(pieces, (AgentReplyReader::max_file_bytes + rows.size() - 1) / rows.size());
  EXPECT_LE(ledger_.size(), ListenerLedger::max_listeners);
}

}  // namespace
}  // namespace vf
