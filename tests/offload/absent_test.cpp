// SPDX-License-Identifier: LGPL-2.1-or-later
//
// In place of the redirection's tests where it could not be built.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "contract.h"
#include "offload/redirect.h"

namespace vf::test {
namespace {

GTEST_ALLOW_UNINSTANTIATED_PARAMETERIZED_TEST(OffloadContract);

TEST(RedirectAbsent, SaysThatThisBuildLacksIt) {
  RedirectOffload offload;
  const auto started = offload.start({[](const KernelOffload::Loss&) {}});
  ASSERT_FALSE(started);
  EXPECT_EQ(started.error().code, ErrorCode::not_supported);
  EXPECT_THAT(started.error().message, ::testing::HasSubstr("this build"));
  EXPECT_FALSE(offload.apply({}, {}));
}

}  // namespace
}  // namespace vf::test
