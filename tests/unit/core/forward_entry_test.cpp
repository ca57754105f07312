// SPDX-License-Identifier: LGPL-2.1-or-later

#include "core/forward_entry.h"

#include <gtest/gtest.h>

namespace vf {
namespace {

TEST(ForwardEntry, ComesBackAsItWasPut) {
  Error error = of_entry({ErrorCode::port_busy, "8080 is taken"}, 2);
  EXPECT_EQ(error.message, "entry 3: 8080 is taken") << "people count from 1";
  EXPECT_EQ(error.code, ErrorCode::port_busy);
  EXPECT_EQ(take_entry(error), 2u);
  EXPECT_EQ(error.message, "8080 is taken");
  EXPECT_EQ(error.code, ErrorCode::port_busy);
}

TEST(ForwardEntry, OtherTextsAreLeft) {
  for (const char* text : {"", "entry", "entry : a", "entry 0: a", "entry -1: a", "entry 1 a",
                           "entry 99999999999999999999: a", "an entry 1: a"}) {
    Error error{ErrorCode::failed, text};
    EXPECT_EQ(take_entry(error), std::nullopt) << text;
    EXPECT_EQ(error.message, text);
  }
}

}  // namespace
}  // namespace vf
