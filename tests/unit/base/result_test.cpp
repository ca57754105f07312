// SPDX-License-Identifier: LGPL-2.1-or-later

#include "base/result.h"

#include <gtest/gtest.h>

#include <memory>
#include <string>

namespace vf {
namespace {

Result<std::string> failed() {
  return Unexpected(ErrorCode::port_busy, "taken");
}

TEST(Result, HoldsAValue) {
  Result<std::string> result = std::string("value");
  ASSERT_TRUE(result);
  EXPECT_EQ(*result, "value");
  EXPECT_EQ(result->size(), 5u);
  *result += "s";
  EXPECT_EQ(result.value(), "values");
}

TEST(Result, HoldsAnError) {
  const Result<std::string> result = failed();
  ASSERT_FALSE(result);
  EXPECT_EQ(result.error(), (Error{ErrorCode::port_busy, "taken"}));
}

TEST(Result, PassesAnErrorOn) {
  const auto outer = []() -> Result<int> {
    auto inner = failed();
    if (!inner) return Unexpected(std::move(inner).error());
    return 1;
  };
  EXPECT_EQ(outer().error().message, "taken");
}

TEST(Result, MovesWhatCannotBeCopied) {
  Result<std::unique_ptr<int>> result = std::make_unique<int>(7);
  const std::unique_ptr<int> value = *std::move(result);
  EXPECT_EQ(*value, 7);
}

TEST(Result, OfAnErrorIsAValue) {
  const Result<Error> result = Error{ErrorCode::failed, "a value"};
  ASSERT_TRUE(result);
  EXPECT_EQ(result->message, "a value");
}

TEST(Result, OfNothing) {
  EXPECT_TRUE(Result<void>());
  const Result<void> result = Unexpected(ErrorCode::not_allowed, "no");
  EXPECT_FALSE(result);
  EXPECT_EQ(result.error().code, ErrorCode::not_allowed);
}

TEST(ResultDeathTest, ReadingTheValueOfAFailureEndsTheProgram) {
  EXPECT_DEATH((void)failed().value(), "");
}

}  // namespace
}  // namespace vf
