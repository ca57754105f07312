// SPDX-License-Identifier: LGPL-2.1-or-later

#include "hooks/delivery.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <chrono>
#include <future>

#include "fixture.h"

namespace vf {
namespace {

using namespace std::chrono_literals;
using testing::HasSubstr;

const HookMessage notice{HookOperation::started, false, "6695eb01-f6a4-8304-79aa-97f2502e193f",
                         "web", "<forwards/>"};
const HookMessage question{HookOperation::prepare, true, notice.uuid, "web", "<forwards/>"};

class Delivery : public testing::Test {
 protected:
  // What one client sends, answered with `reply` (raw bytes; none: the connection is closed).
  std::future<std::vector<std::uint8_t>> serve(std::vector<std::uint8_t> reply) {
    return std::async(std::launch::async, [this, reply = std::move(reply)] {
      const Fd client(accept4(listener_.get(), nullptr, nullptr, SOCK_CLOEXEC));
      auto body = receive_message(client.get());
      if (!reply.empty()) send_bytes(client.get(), reply);
      return body;
    });
  }

  std::chrono::milliseconds elapsed() const {
    return std::chrono::duration_cast<std::chrono::milliseconds>(std::chrono::steady_clock::now() -
                                                                 begun_);
  }

  TemporaryDirectory directory_;
  std::string path_ = directory_ / "hook.sock";
  Fd listener_ = listen_at(path_, SOCK_STREAM, 4);
  std::chrono::steady_clock::time_point begun_ = std::chrono::steady_clock::now();
};

TEST_F(Delivery, NoticeIsHandedOverWithoutWaiting) {
  const auto reply = deliver(path_, notice, Deadline::after(5s));
  ASSERT_TRUE(reply);
  EXPECT_TRUE(reply->accepted);
  const auto received = serve({}).get();
  ASSERT_TRUE(decode_hook_message(received));
  EXPECT_EQ(*decode_hook_message(received), notice);
}

TEST_F(Delivery, LargestMessageArrives) {
  HookMessage large = notice;
  large.element.assign(HookMessage::max_element_bytes, 'x');
  auto server = serve({});
  ASSERT_TRUE(deliver(path_, large, Deadline::after(5s)));
  EXPECT_EQ(*decode_hook_message(server.get()), large);
}

TEST_F(Delivery, AnswerIsWaitedFor) {
  auto server = serve(encode(HookReply{false, "port 8080 is taken"}));
  const auto reply = deliver(path_, question, Deadline::after(5s));
  ASSERT_TRUE(reply) << reply.error().message;
  EXPECT_EQ(*reply, (HookReply{false, "port 8080 is taken"}));
}

TEST_F(Delivery, NoDaemonIsToldAtOnceToANotice) {
  for (const std::string& path :
       {directory_ / "absent", directory_ / "no/such", std::string(), std::string(200, 'x')}) {
    const auto reply = deliver(path, notice, Deadline::after(60s));
    ASSERT_FALSE(reply) << path;
    EXPECT_EQ(reply.error().code, ErrorCode::no_daemon);
  }
  listener_.reset();
  EXPECT_EQ(deliver(path_, notice, Deadline::after(60s)).error().code, ErrorCode::no_daemon);
  EXPECT_LT(elapsed(), 30s);
}

TEST_F(Delivery, SocketThatIsAFileIsNoDaemon) {
  const std::string file = directory_ / "file";
  const Fd made(open(file.c_str(), O_CREAT | O_WRONLY | O_CLOEXEC, 0600));
  EXPECT_EQ(deliver(file, notice, Deadline::after(60s)).error().code, ErrorCode::no_daemon);
}

TEST_F(Delivery, QuestionWaitsForADaemonThatIsBeingRestarted) {
  const std::string later = directory_ / "later";
  auto reply = std::async(std::launch::async,
                          [&] { return deliver(later, question, Deadline::after(20s)); });
  listener_ = listen_at(later, SOCK_STREAM, 4);
  auto server = serve(encode(HookReply{}));
  EXPECT_TRUE(reply.get());
}

TEST_F(Delivery, QuestionToAnAbsentDaemonEndsAtTheDeadline) {
  const auto reply = deliver(directory_ / "absent", question, Deadline::after(50ms));
  ASSERT_FALSE(reply);
  EXPECT_EQ(reply.error().code, ErrorCode::no_daemon);
  EXPECT_THAT(reply.error().message, HasSubstr("absent"));
  EXPECT_GE(elapsed(), 50ms);
}

TEST_F(Delivery, SilentDaemonEndsAtTheDeadline) {
  const auto reply = deliver(path_, question, Deadline::after(50ms));
  ASSERT_FALSE(reply);
  EXPECT_EQ(reply.error().code, ErrorCode::failed);
  EXPECT_THAT(reply.error().message, HasSubstr("in time"));
}

TEST_F(Delivery, FullBacklogEndsAtTheDeadline) {
  const std::string full = directory_ / "full";
  const Fd listener = listen_at(full, SOCK_STREAM, 0);
  std::vector<Fd> queued;
  while (Fd client = connect_at(full, SOCK_NONBLOCK))
    queued.push_back(std::move(client));
  begun_ = std::chrono::steady_clock::now();
  const auto reply = deliver(full, notice, Deadline::after(50ms));
  ASSERT_FALSE(reply);
  EXPECT_EQ(reply.error().code, ErrorCode::failed);
  EXPECT_GE(elapsed(), 50ms);
}

TEST_F(Delivery, PlaceInTheBacklogIsWaitedFor) {
  const std::string full = directory_ / "full";
  const Fd listener = listen_at(full, SOCK_STREAM, 0);
  std::vector<Fd> queued;
  while (Fd client = connect_at(full, SOCK_NONBLOCK))
    queued.push_back(std::move(client));
  auto reply =
      std::async(std::launch::async, [&] { return deliver(full, notice, Deadline::after(20s)); });
  for (std::size_t i = 0; i < queued.size(); ++i)
    Fd(accept(listener.get(), nullptr, nullptr));
  EXPECT_TRUE(reply.get());
}

TEST_F(Delivery, ReaderThatStopsEndsAtTheDeadline) {
  HookMessage large = notice;
  large.element.assign(HookMessage::max_element_bytes, 'x');
  EXPECT_EQ(deliver(path_, large, Deadline::after(50ms)).error().code, ErrorCode::failed);
}

TEST_F(Delivery, AnswersThatMakeNoSenseAreFailures) {
  for (const std::vector<std::uint8_t>& nonsense : {std::vector<std::uint8_t>{0, 0, 0, 0},
                                                    {1, 0, 0, 0, 1},
                                                    {255, 255, 255, 255, 1},
                                                    {4, 0, 0, 0, 1, 1, 9, 9},
                                                    {4, 0, 0}}) {
    auto server = serve(nonsense);
    EXPECT_FALSE(deliver(path_, question, Deadline::after(5s)));
  }
}

TEST_F(Delivery, ConnectionClosedWithoutAnAnswerIsAFailure) {
  auto server = serve({});
  const auto reply = deliver(path_, question, Deadline::after(60s));
  ASSERT_FALSE(reply);
  EXPECT_LT(elapsed(), 30s);
}

}  // namespace
}  // namespace vf
