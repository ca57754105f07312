// SPDX-License-Identifier: LGPL-2.1-or-later

#include "daemon/hook_server.h"

#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include <filesystem>
#include <fstream>

#include "base/unix_address.h"
#include "glib/source.h"

namespace vf {
namespace {

using namespace std::chrono_literals;
using testing::HasSubstr;

HookMessage message(HookOperation operation, bool wants_answer = false) {
  return {operation, wants_answer, "6695eb01-f6a4-8304-79aa-97f2502e193f", "web", "<forwards/>"};
}

class HookServerTest : public testing::Test {
 protected:
  struct Call {
    HookMessage message;
    HookServer::Answer answer;
  };

  HookServerTest() {
    std::string pattern = testing::TempDir() + "vf-hook-server-XXXXXX";
    directory_ = mkdtemp(pattern.data());
    path_ = directory_ + "/hook.sock";
  }
  ~HookServerTest() override {
    server_.reset();
    std::filesystem::remove_all(directory_);
  }

  Result<std::unique_ptr<HookServer>> listen(Fd inherited = Fd()) {
    auto socket =
        inherited ? RuntimeSocket::take(std::move(inherited)) : RuntimeSocket::listen(path_);
    if (!socket) return Unexpected(socket.error());
    return std::make_unique<HookServer>(
        *std::move(socket), [this](const HookMessage& received, HookServer::Answer answer) {
          calls_.push_back({received, std::move(answer)});
          if (on_call_) on_call_();
        });
  }
  void start() {
    auto server = listen();
    ASSERT_TRUE(server) << server.error().message;
    server_ = std::move(*server);
  }

  Fd bound(int type = SOCK_STREAM) {
    Fd socket(::socket(AF_UNIX, type | SOCK_CLOEXEC, 0));
    const auto address = UnixAddress::from(path_);
    EXPECT_EQ(bind(socket.get(), address->get(), address->length), 0);
    return socket;
  }
  Fd connected() {
    Fd client(socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
    const auto address = UnixAddress::from(path_);
    if (connect(client.get(), address->get(), address->length) != 0) client.reset();
    return client;
  }
  static void send_bytes(const Fd& client, std::span<const std::uint8_t> bytes) {
    ASSERT_EQ(send(client.get(), bytes.data(), bytes.size(), MSG_NOSIGNAL),
              static_cast<ssize_t>(bytes.size()));
  }
  Fd sent(const HookMessage& what) {
    Fd client = connected();
    send_bytes(client, encode(what));
    return client;
  }

  template <typename Condition>
  bool run_until(Condition condition) {
    bool late = false;
    const Source limit = after(10s, [&] { late = true; });
    const Source tick = every(5ms, [] {});  // for conditions that no source tells of
    while (!condition() && !late)
      g_main_context_iteration(nullptr, TRUE);
    return !late;
  }
  // Whatever is ready now has been done.
  void settle() {
    while (g_main_context_iteration(nullptr, FALSE)) {
    }
  }
  // The server closed this connection, having sent what is in `received`.
  bool closed(const Fd& client, std::vector<std::uint8_t>& received) {
    std::uint8_t buffer[8192];
    ssize_t got = 0;
    while ((got = recv(client.get(), buffer, sizeof buffer, 0)) > 0)
      received.insert(received.end(), buffer, buffer + got);
    return got == 0 || errno == ECONNRESET;
  }
  bool run_until_closed(const Fd& client) {
    std::vector<std::uint8_t> received;
    return run_until([&] { return closed(client, received); }) && received.empty();
  }
  std::optional<HookReply> reply_to(const Fd& client) {
    std::vector<std::uint8_t> received;
    if (!run_until([&] { return closed(client, received); }) || received.size() < 4) return {};
    auto reply = decode_hook_reply(std::span(received).subspan(4));
    return reply ? std::optional(*reply) : std::nullopt;
  }

  std::string directory_;
  std::string path_;
  std::vector<Call> calls_;
  std::function<void()> on_call_;
  std::unique_ptr<HookServer> server_;
};

TEST_F(HookServerTest, HandsMessagesToTheHandler) {
  start();
  const Fd client = sent(message(HookOperation::started));
  ASSERT_TRUE(run_until([&] { return !calls_.empty(); }));
  EXPECT_EQ(calls_[0].message, message(HookOperation::started));
  EXPECT_FALSE(calls_[0].answer);
  EXPECT_TRUE(run_until_closed(client));
}

TEST_F(HookServerTest, MessageOfAHookThatIsGoneStillCounts) {
  start();
  sent(message(HookOperation::release)).reset();
  EXPECT_TRUE(run_until([&] { return !calls_.empty(); }));
}

TEST_F(HookServerTest, KeepsTheOrderOfConnections) {
  start();
  for (auto operation : {HookOperation::prepare, HookOperation::start, HookOperation::started,
                         HookOperation::stopped, HookOperation::release})
    sent(message(operation)).reset();
  ASSERT_TRUE(run_until([&] { return calls_.size() == 5; }));
  for (int i = 0; i < 5; ++i)
    EXPECT_EQ(static_cast<int>(calls_[static_cast<std::size_t>(i)].message.operation),
              static_cast<int>(HookOperation::prepare) + i);
}

TEST_F(HookServerTest, AnswersYes) {
  start();
  on_call_ = [&] { calls_.back().answer({}); };
  EXPECT_EQ(reply_to(sent(message(HookOperation::prepare, true))), HookReply{});
}

TEST_F(HookServerTest, AnswersNoLaterAndOnce) {
  start();
  const Fd client = sent(message(HookOperation::prepare, true));
  ASSERT_TRUE(run_until([&] { return !calls_.empty(); }));
  calls_[0].answer(Unexpected(ErrorCode::port_busy, "port 8080 is taken"));
  calls_[0].answer({});
  EXPECT_EQ(reply_to(client), (HookReply{false, "port 8080 is taken"}));
  calls_[0].answer({});
}

TEST_F(HookServerTest, AnswerToAHookThatGaveUpIsDropped) {
  start();
  Fd client = sent(message(HookOperation::prepare, true));
  ASSERT_TRUE(run_until([&] { return !calls_.empty(); }));
  client.reset();
  settle();
  calls_[0].answer({});
  settle();
}

TEST_F(HookServerTest, AnswerAfterTheServerIsGoneIsDropped) {
  start();
  const Fd client = sent(message(HookOperation::prepare, true));
  ASSERT_TRUE(run_until([&] { return !calls_.empty(); }));
  server_.reset();
  calls_[0].answer({});
  EXPECT_TRUE(run_until_closed(client));
}

TEST_F(HookServerTest, OnlyPrepareGetsAnAnswer) {
  start();
  const Fd client = sent(message(HookOperation::reconnect, true));
  ASSERT_TRUE(run_until([&] { return !calls_.empty(); }));
  EXPECT_FALSE(calls_[0].answer);
  EXPECT_TRUE(run_until_closed(client));
}

TEST_F(HookServerTest, HandlerMayEndTheServer) {
  start();
  on_call_ = [&] { server_.reset(); };
  const Fd first = sent(message(HookOperation::start));
  const Fd second = sent(message(HookOperation::started));
  ASSERT_TRUE(run_until([&] { return !calls_.empty(); }));
  settle();
  EXPECT_EQ(calls_.size(), 1u);
  EXPECT_FALSE(connected());
}

TEST_F(HookServerTest, MessageInPiecesIsPutTogether) {
  start();
  const Fd client = connected();
  const auto bytes = encode(message(HookOperation::start));
  for (std::size_t i = 0; i < bytes.size(); ++i) {
    send_bytes(client, std::span(bytes).subspan(i, 1));
    settle();
  }
  EXPECT_TRUE(run_until([&] { return !calls_.empty(); }));
}

TEST_F(HookServerTest, LargestMessageIsTaken) {
  start();
  HookMessage large = message(HookOperation::start);
  large.element.assign(HookMessage::max_element_bytes, 'x');
  const auto bytes = encode(large);
  const Fd client = connected();
  std::size_t at = 0;
  ASSERT_TRUE(run_until([&] {
    const ssize_t done = send(client.get(), bytes.data() + at, bytes.size() - at, MSG_NOSIGNAL);
    if (done > 0) at += static_cast<std::size_t>(done);
    return !calls_.empty();
  }));
  EXPECT_EQ(calls_[0].message, large);
}

TEST_F(HookServerTest, NonsenseIsDropped) {
  start();
  for (const std::vector<std::uint8_t>& nonsense : {std::vector<std::uint8_t>{0, 0, 0, 0},
                                                    {255, 255, 255, 255},
                                                    {1, 0, 0, 0, 9},
                                                    {'G', 'E', 'T', ' ', '/'}}) {
    const Fd client = connected();
    send_bytes(client, nonsense);
    EXPECT_TRUE(run_until_closed(client));
  }
  EXPECT_TRUE(calls_.empty());
}

TEST_F(HookServerTest, SilentClientIsDroppedInTime) {
  start();
  const Fd silent = connected();
  const Fd half = connected();
  send_bytes(half, std::vector<std::uint8_t>{200, 0, 0, 0, 1});
  const Fd undecided = sent(message(HookOperation::prepare, true));
  EXPECT_TRUE(run_until_closed(silent));
  EXPECT_TRUE(run_until_closed(half));
  EXPECT_TRUE(run_until_closed(undecided));
}

TEST_F(HookServerTest, SilentClientsDoNotKeepOthersOutForLong) {
  start();
  std::vector<Fd> silent;
  for (int i = 0; i < 80; ++i)
    silent.push_back(connected());
  const Fd client = sent(message(HookOperation::start));
  EXPECT_TRUE(run_until([&] { return !calls_.empty(); }));
}

TEST_F(HookServerTest, SocketFileIsForItsOwnerOnly) {
  const mode_t before = umask(0);
  start();
  umask(before);
  struct stat status {};
  ASSERT_EQ(lstat(path_.c_str(), &status), 0);
  EXPECT_EQ(status.st_mode & 07777u, 0600u);
}

TEST_F(HookServerTest, OtherUsersAreDropped) {
  start();
  ASSERT_EQ(chmod(path_.c_str(), 0666), 0);
  std::filesystem::permissions(directory_, std::filesystem::perms::all);
  const auto address = UnixAddress::from(path_);
  const auto bytes = encode(message(HookOperation::start));
  const pid_t child = fork();
  if (child == 0) {
    // Only root can become somebody else; as another user this ends with status 2.
    const Fd client(socket(AF_UNIX, SOCK_STREAM, 0));
    char end = 0;
    if (setresuid(65534, 65534, 65534) != 0) _exit(2);
    if (connect(client.get(), address->get(), address->length) != 0) _exit(3);
    if (send(client.get(), bytes.data(), bytes.size(), MSG_NOSIGNAL) < 0 && errno != EPIPE)
      _exit(4);
    _exit(recv(client.get(), &end, 1, 0) <= 0 ? 0 : 5);
  }
  int status = 0;
  pid_t ended = 0;
  ASSERT_TRUE(run_until([&] { return (ended = waitpid(child, &status, WNOHANG)) != 0; }));
  EXPECT_EQ(WEXITSTATUS(status), geteuid() == 0 ? 0 : 2);
  settle();
  EXPECT_TRUE(calls_.empty());
}

TEST_F(HookServerTest, StaleSocketFileIsReplaced) {
  bound().reset();
  start();
  EXPECT_TRUE(connected());
}

TEST_F(HookServerTest, LiveSocketIsLeftAlone) {
  start();
  const auto second = listen();
  ASSERT_FALSE(second);
  EXPECT_THAT(second.error().message, HasSubstr(path_));
  EXPECT_TRUE(connected());
}

TEST_F(HookServerTest, LiveSocketWithAFullBacklogIsLeftAlone) {
  const Fd listener = bound();
  ASSERT_EQ(::listen(listener.get(), 0), 0);
  std::vector<Fd> queued;
  while (Fd client = connected())
    queued.push_back(std::move(client));
  EXPECT_FALSE(listen());
  EXPECT_TRUE(std::filesystem::exists(path_));
}

TEST_F(HookServerTest, WhatIsNoSocketIsLeftAlone) {
  std::ofstream(path_) << "precious";
  EXPECT_FALSE(listen());
  EXPECT_TRUE(std::filesystem::is_regular_file(path_));
  std::filesystem::remove(path_);
  std::filesystem::create_symlink(directory_ + "/elsewhere", path_);
  EXPECT_FALSE(listen());
  EXPECT_TRUE(std::filesystem::is_symlink(path_));
}

TEST_F(HookServerTest, SocketFileGoesWithTheServer) {
  start();
  server_.reset();
  EXPECT_FALSE(std::filesystem::exists(path_));
}

TEST_F(HookServerTest, SocketFileOfASuccessorStays) {
  start();
  std::filesystem::remove(path_);
  const Fd successor = bound();
  server_.reset();
  EXPECT_TRUE(std::filesystem::exists(path_));
}

TEST_F(HookServerTest, InheritedListenerIsServedAndItsFileStays) {
  Fd listener = bound();
  ASSERT_EQ(::listen(listener.get(), 5), 0);
  auto server = listen(std::move(listener));
  ASSERT_TRUE(server) << server.error().message;
  sent(message(HookOperation::start)).reset();
  EXPECT_TRUE(run_until([&] { return !calls_.empty(); }));
  server->reset();
  EXPECT_TRUE(std::filesystem::exists(path_));
}

TEST_F(HookServerTest, InheritedDescriptorOfAnotherKindIsRefused) {
  EXPECT_FALSE(listen(bound()));  // does not listen
  EXPECT_FALSE(listen(Fd(open("/dev/null", O_RDWR | O_CLOEXEC))));
  Fd tcp(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  ASSERT_EQ(::listen(tcp.get(), 1), 0);
  EXPECT_FALSE(listen(std::move(tcp)));
}

TEST_F(HookServerTest, PathsThatCannotBeAreErrors) {
  std::ofstream(directory_ + "/file") << "no directory";
  path_ = directory_ + "/file/hook.sock";
  EXPECT_FALSE(listen());
  path_ = directory_ + '/' + std::string(200, 'x');
  EXPECT_FALSE(listen());
}

}  // namespace
}  // namespace vf
