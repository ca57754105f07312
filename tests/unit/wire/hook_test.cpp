// SPDX-License-Identifier: LGPL-2.1-or-later

#include "wire/hook.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace vf {
namespace {

const std::string uuid = "6695eb01-f6a4-8304-79aa-97f2502e193f";

HookMessage example() {
  return {HookOperation::prepare,
          true,
          uuid,
          "web",
          "<vf:forwards/>",
          std::chrono::hours(24 * 365) + std::chrono::nanoseconds(1),
          7};
}

std::span<const std::uint8_t> body(const std::vector<std::uint8_t>& framed) {
  return std::span(framed).subspan(4);
}

TEST(HookWire, MessageSurvivesTheWay) {
  const auto framed = encode(example());
  const auto decoded = decode_hook_message(body(framed));
  ASSERT_TRUE(decoded) << decoded.error().message;
  EXPECT_EQ(*decoded, example());
}

TEST(HookWire, PrefixIsTheLengthOfTheRest) {
  const auto framed = encode(HookReply{});
  ASSERT_EQ(framed.size(), 8u);
  EXPECT_THAT(framed, testing::ElementsAre(4, 0, 0, 0, 2, 1, 0, 0));
}

TEST(HookWire, EveryOperationHasItsName) {
  for (int i = 0; i <= static_cast<int>(HookOperation::attach); ++i) {
    const auto operation = static_cast<HookOperation>(i);
    EXPECT_EQ(hook_operation(text(operation)), operation);
  }
  EXPECT_EQ(hook_operation("Prepare"), HookOperation::other);
  EXPECT_EQ(hook_operation(""), HookOperation::other);
}

TEST(HookWire, EveryTruncationIsRefused) {
  const auto framed = encode(example());
  for (std::size_t length = 0; length < framed.size() - 4; ++length)
    EXPECT_FALSE(decode_hook_message(body(framed).first(length))) << length;
}

TEST(HookWire, TrailingBytesAreRefused) {
  auto message = encode(example());
  message.push_back(0);
  EXPECT_FALSE(decode_hook_message(body(message)));
  auto reply = encode(HookReply{});
  reply.push_back(0);
  EXPECT_FALSE(decode_hook_reply(body(reply)));
}

TEST(HookWire, UnknownVersionIsRefused) {
  auto framed = encode(example());
  for (const int version : {1, 3}) {
    framed[4] = static_cast<std::uint8_t>(version);
    EXPECT_FALSE(decode_hook_message(body(framed)));
  }
}

TEST(HookWire, UnknownOperationIsOther) {
  auto framed = encode(example());
  framed[5] = 200;
  const auto decoded = decode_hook_message(body(framed));
  ASSERT_TRUE(decoded);
  EXPECT_EQ(decoded->operation, HookOperation::other);
}

TEST(HookWire, LengthsThatPointOutsideAreRefused) {
  auto framed = encode(example());
  framed[19] = 0xff;
  framed[20] = 0xff;
  EXPECT_FALSE(decode_hook_message(body(framed)));
}

TEST(HookWire, RunMayBeAbsent) {
  HookMessage message = example();
  message.run.reset();
  const auto decoded = decode_hook_message(body(encode(message)));
  ASSERT_TRUE(decoded);
  EXPECT_EQ(*decoded, message);
  message.run = 0;
  EXPECT_EQ(decode_hook_message(body(encode(message)))->run, 0);
}

TEST(HookWire, MomentAndRunOutOfRangeAreRefused) {
  auto framed = encode(example());
  framed[14] = 0x80;
  EXPECT_FALSE(decode_hook_message(body(framed)));
  framed[14] = 0;
  EXPECT_TRUE(decode_hook_message(body(framed)));
  framed[18] = 0x80;
  EXPECT_FALSE(decode_hook_message(body(framed)));
}

TEST(HookWire, OnlyUuidsArePassedOn) {
  for (const char* text :
       {"", "web", "6695EB01-f6a4-8304-79aa-97f2502e193f", "6695eb01-f6a4-8304-79aa-97f2502e193g",
        "6695eb01xf6a4-8304-79aa-97f2502e193f", "6695eb01-f6a4-8304-79aa-97f2502e193f0"}) {
    HookMessage message = example();
    message.uuid = text;
    EXPECT_FALSE(decode_hook_message(body(encode(message)))) << text;
  }
}

TEST(HookWire, ElementOfOneMebibytePasses) {
  HookMessage message = example();
  message.element.assign(HookMessage::max_element_bytes, 'x');
  message.name.assign(HookMessage::max_name_bytes, 'n');
  const auto framed = encode(message);
  EXPECT_LE(framed.size(), HookMessage::max_bytes + 4);
  const auto decoded = decode_hook_message(body(framed));
  ASSERT_TRUE(decoded);
  EXPECT_EQ(*decoded, message);
}

TEST(HookWire, OversizedFieldsAreCutByTheSender) {
  HookMessage message = example();
  message.element.assign(HookMessage::max_element_bytes + 1, 'x');
  message.name.assign(100000, 'n');
  const auto decoded = decode_hook_message(body(encode(message)));
  ASSERT_TRUE(decoded);
  EXPECT_EQ(decoded->element, "");
  EXPECT_EQ(decoded->name.size(), HookMessage::max_name_bytes);
}

TEST(HookWire, ReplySurvivesTheWay) {
  const HookReply refused{false, "port 8080 is held by nginx (pid 12)"};
  const auto decoded = decode_hook_reply(body(encode(refused)));
  ASSERT_TRUE(decoded);
  EXPECT_EQ(*decoded, refused);
}

TEST(HookWire, LongReplyIsCutToItsBound) {
  const auto framed = encode(HookReply{false, std::string(100000, 'x')});
  EXPECT_LE(framed.size(), HookReply::max_bytes + 4);
  EXPECT_TRUE(decode_hook_reply(body(framed)));
}

TEST(HookWire, ReplyThatIsNeitherYesNorNoIsRefused) {
  auto framed = encode(HookReply{});
  framed[5] = 2;
  EXPECT_FALSE(decode_hook_reply(body(framed)));
}

}  // namespace
}  // namespace vf
