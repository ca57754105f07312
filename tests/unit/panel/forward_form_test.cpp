// SPDX-License-Identifier: LGPL-2.1-or-later

#include "panel/forward_form.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "core/definition_xml.h"

namespace vf::panel {
namespace {

using testing::Contains;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::Pair;
using testing::UnorderedElementsAre;

TEST(PanelForm, LeavesOutWhatIsNotGiven) {
  EXPECT_THAT((ForwardForm{.guest_port = " 80 ", .protocol = Protocol::udp}.attributes()),
              ElementsAre(Pair("guest-port", "80"), Pair("protocol", "udp")));
}

TEST(PanelForm, ChangesWhatIsDifferentAlone) {
  const auto definition = parse_forward({{"guest-port", "8000-8009"},
                                         {"host-port", "18000-18009"},
                                         {"host-address", "127.0.0.1"},
                                         {"transport", "vsock"},
                                         {"label", "Web"}});
  ASSERT_TRUE(definition);
  const ForwardForm before = form_of(*definition);
  EXPECT_EQ(before.guest_port, "8000-8009");
  EXPECT_THAT(before.changes(before), IsEmpty());
  ForwardForm after = before;
  after.label = " ";
  after.host_address = "";
  after.transport = Transport::automatic;
  EXPECT_FALSE(after.moves(before));
  EXPECT_THAT(
      after.changes(before),
      UnorderedElementsAre(Pair("label", ""), Pair("host-address", ""), Pair("transport", "")));
  after.host_port = "18010-18019";
  EXPECT_TRUE(after.moves(before));
  EXPECT_THAT(after.changes(before), Contains(Pair("host-port", "18010-18019")));
}

TEST(PanelForm, KeepsSockets) {
  const auto definition = parse_forward({{"guest-socket", "/run/db.sock"}, {"host-port", "5432"}});
  ASSERT_TRUE(definition);
  ForwardForm form = form_of(*definition);
  EXPECT_TRUE(form.check());
  form.label = "Database";
  EXPECT_THAT(form.changes(form_of(*definition)), ElementsAre(Pair("label", "Database")));
}

TEST(PanelForm, SaysWhatIsWrongAtOnce) {
  EXPECT_TRUE((ForwardForm{.guest_port = "80", .host_port = "8080", .label = "Web"}.check()));
  for (const char* wrong : {"0", "65536", "x", "80-70"})
    EXPECT_THAT((ForwardForm{.guest_port = wrong}.check().error().message), HasSubstr("1 to 65535"))
        << wrong;
  EXPECT_FALSE((ForwardForm{.guest_port = "80-89", .host_port = "8080-8085"}.check()));
}

TEST(PanelForm, ChangesADefinitionAndKeepsWhatIsNotShown) {
  const auto definition = parse_forward(
      {{"guest-port", "80"}, {"host-port", "8080"}, {"on-busy", "fail"}, {"label", "Web"}});
  ASSERT_TRUE(definition);
  EXPECT_THAT(ForwardForm::changed(*definition, {{"host-port", "8081"}, {"label", ""}}),
              UnorderedElementsAre(Pair("guest-port", "80"), Pair("host-port", "8081"),
                                   Pair("on-busy", "fail")));
}

TEST(PanelForm, ChangesBothDefinitionsOfAForwardThatIsInBoth) {
  const auto flags = [](const Keeping& keeping) {
    const EditFlags to = keeping.flags();
    return std::pair(to.live, to.config);
  };
  const std::pair both(true, true);
  const std::pair live(true, false);
  EXPECT_EQ(flags({.span = Span::always, .edited = true, .saved = true}), both);
  EXPECT_EQ(flags({.span = Span::this_run, .edited = true, .saved = true}), live);
  EXPECT_EQ(flags({.span = Span::this_run, .edited = true}), live);
  EXPECT_EQ(flags({.span = Span::always}), both);
  EXPECT_EQ(flags({.span = Span::this_run}), live);
  // It is not in the definition yet: it cannot be changed there, it is added.
  const Keeping kept{.span = Span::always, .edited = true};
  EXPECT_EQ(flags(kept), live);
  EXPECT_TRUE(kept.saves());
  EXPECT_FALSE((Keeping{.span = Span::always, .edited = true, .saved = true}.saves()));
  EXPECT_FALSE((Keeping{.span = Span::always}.saves()));
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
