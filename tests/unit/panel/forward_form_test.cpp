// SPDX-License-Identifier: LGPL-2.1-or-later

#include "panel/forward_form.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace vf::panel {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::Pair;

TEST(PanelForm, LeavesOutWhatIsNotGiven) {
  EXPECT_THAT((ForwardForm{" 80 ", "", Protocol::udp, ""}.attributes()),
              ElementsAre(Pair("guest-port", "80"), Pair("protocol", "udp")));
  EXPECT_THAT((ForwardForm{"80", "", Protocol::tcp, ""}.changes()),
              ElementsAre(Pair("guest-port", "80"), Pair("host-port", ""), Pair("protocol", "tcp"),
                          Pair("label", "")));
}

TEST(PanelForm, SaysWhatIsWrongAtOnce) {
  EXPECT_TRUE((ForwardForm{"80", "8080", Protocol::tcp, "Web"}.check()));
  for (const char* wrong : {"0", "65536", "x", "80-70"})
    EXPECT_THAT((ForwardForm{wrong, "", Protocol::tcp, ""}.check().error().message),
                HasSubstr("1 to 65535"))
        << wrong;
  EXPECT_FALSE((ForwardForm{"80-89", "8080-8085", Protocol::tcp, ""}.check()));
}

TEST(PanelForm, SaysWhichPortIsTakenInstead) {
  const auto answer = [](unsigned got, unsigned asked) {
    return Result<std::vector<AddedForward>>(
        std::vector<AddedForward>{{"/f", Port::from(got), Port::from(asked)}});
  };
  EXPECT_EQ(verdict(answer(8080, 8080)).kind, Verdict::Kind::good);
  const Verdict moved = verdict(answer(8081, 8080));
  EXPECT_EQ(moved.kind, Verdict::Kind::moved);
  EXPECT_THAT(moved.text, HasSubstr("8080"));
  EXPECT_THAT(moved.text, HasSubstr("8081"));
  const Verdict wrong = verdict(Unexpected(ErrorCode::port_busy, "busy"));
  EXPECT_EQ(wrong.kind, Verdict::Kind::wrong);
  EXPECT_EQ(wrong.text, "busy");
}

}  // namespace
}  // namespace vf::panel
