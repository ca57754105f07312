// SPDX-License-Identifier: LGPL-2.1-or-later

#include "hooks/journal.h"

#include <gtest/gtest.h>

#include "fixture.h"

namespace vf {
namespace {

std::string field(std::string_view value) {
  std::string line;
  add_field(line, "k", value);
  return line;
}

TEST(LogField, IsQuotedWhereAReaderNeedsIt) {
  EXPECT_EQ(field("web"), "k=web");
  EXPECT_EQ(field("/run/x:y"), "k=/run/x:y");
  EXPECT_EQ(field(""), "k=\"\"");
  EXPECT_EQ(field("a b"), "k=\"a b\"");
  EXPECT_EQ(field("a=b"), "k=\"a=b\"");
  EXPECT_EQ(field("say \"x\""), "k=\"say \\\"x\\\"\"");
}

TEST(LogField, CannotEndItsLine) {
  EXPECT_EQ(field("a\nPRIORITY=0"), "k=\"a\\x0aPRIORITY=0\"");
  EXPECT_EQ(field("\x1b]0;x\a"), "k=\"\\x1b]0;x\\x07\"");
}

TEST(LogField, FollowsAnother) {
  std::string line;
  add_field(line, "a", "1");
  add_field(line, "b", "2");
  EXPECT_EQ(line, "a=1 b=2");
}

class LogLine : public testing::Test {
 protected:
  std::string received(const Fd& socket) {
    char buffer[4096];
    const ssize_t got = recv(socket.get(), buffer, sizeof buffer, MSG_DONTWAIT);
    return got < 0 ? "nothing" : std::string(buffer, static_cast<std::size_t>(got));
  }

  TemporaryDirectory directory_;
  LogSockets sockets_{directory_ / "journal", directory_ / "log"};
};

TEST_F(LogLine, GoesToTheJournal) {
  const Fd journal = listen_at(sockets_.journal, SOCK_DGRAM, 0);
  const Fd syslog = listen_at(sockets_.syslog, SOCK_DGRAM, 0);
  log_line(Severity::warning, "domain=web", sockets_);
  EXPECT_EQ(received(journal),
            "PRIORITY=4\nSYSLOG_IDENTIFIER=virt-forward-hook\nMESSAGE=domain=web\n");
  EXPECT_EQ(received(syslog), "nothing");
}

TEST_F(LogLine, GoesToSyslogWithoutAJournal) {
  const Fd syslog = listen_at(sockets_.syslog, SOCK_DGRAM, 0);
  log_line(Severity::info, "domain=web", sockets_);
  EXPECT_EQ(received(syslog),
            "<30>virt-forward-hook[" + std::to_string(getpid()) + "]: domain=web");
}

TEST_F(LogLine, GoesNowhereWithoutEither) {
  log_line(Severity::info, "domain=web", sockets_);
}

TEST_F(LogLine, DoesNotWaitForAReader) {
  const Fd journal = listen_at(sockets_.journal, SOCK_DGRAM, 0);
  const Fd syslog = listen_at(sockets_.syslog, SOCK_DGRAM, 0);
  for (int i = 0; i < 1000; ++i)
    log_line(Severity::info, "domain=web", sockets_);
}

}  // namespace
}  // namespace vf
