// SPDX-License-Identifier: LGPL-2.1-or-later

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <random>
#include <set>

#include "base/printable.h"
#include "core/auto_rules.h"
#include "core/definition_xml.h"

namespace vf {
namespace {

using testing::HasSubstr;

std::string done(const Result<std::string>& result) {
  return result ? *result : "error: " + result.error().message;
}
PortRange ports(const std::string& text) {
  return *PortRange::parse(text);
}
std::string blocked(std::string_view xml, const std::string& range = "3000",
                    Protocol protocol = Protocol::tcp) {
  return done(with_block_added(xml, protocol, ports(range)));
}
std::string unblocked(std::string_view xml, const std::string& range = "3000",
                      Protocol protocol = Protocol::tcp) {
  return done(with_block_removed(xml, protocol, ports(range)));
}

constexpr auto one_block =
    "<forwards>\n"
    "  <auto enabled=\"policy\">\n"
    "    <rule action=\"block\" guest-port=\"3000\" marked=\"yes\"/>\n"
    "  </auto>\n"
    "</forwards>";

TEST(Block, MakesWhatIsMissing) {
  EXPECT_EQ(blocked(""), one_block);
  EXPECT_EQ(blocked("<vf:forwards xmlns:vf=\"urn:virt-forward:1\"/>"), one_block);
  EXPECT_EQ(unblocked(one_block), "");
}

TEST(Block, GoesInFrontAndLeavesTheRest) {
  const std::string before =
      "<forwards xmlns:x=\"urn:x\">\n"
      "  <forward guest-port=\"80\"/>\n"
      "  <auto enabled=\"no\" x:by=\"me\">\n"
      "    <!-- ours -->\n"
      "    <rule guest-port=\"3000\"/>\n"
      "  </auto>\n"
      "  <ssh user=\"u\"/>\n"
      "</forwards>";
  const std::string after = blocked(before);
  EXPECT_EQ(after,
            "<forwards xmlns:x=\"urn:x\">\n"
            "  <forward guest-port=\"80\"/>\n"
            "  <auto enabled=\"no\" x:by=\"me\">\n"
            "    <rule action=\"block\" guest-port=\"3000\" marked=\"yes\"/>\n"
            "    <!-- ours -->\n"
            "    <rule guest-port=\"3000\"/>\n"
            "  </auto>\n"
            "  <ssh user=\"u\"/>\n"
            "</forwards>");
  EXPECT_EQ(unblocked(after), before);
}

TEST(Block, StandsBetweenForwardsAndSsh) {
  const std::string before = "<forwards><forward guest-port=\"80\"/><ssh user=\"u\"/></forwards>";
  const std::string after = blocked(before, "53", Protocol::udp);
  EXPECT_TRUE(parse_definitions(after).errors.empty()) << after;
  EXPECT_THAT(after, HasSubstr("protocol=\"udp\""));
  EXPECT_EQ(unblocked(after, "53", Protocol::udp), before);
}

TEST(Block, TwiceIsOnce) {
  const std::string once = blocked("");
  EXPECT_EQ(blocked(once), once);
  EXPECT_EQ(blocked(blocked("", "3000-3009"), "3005"), blocked("", "3000-3009"));
  EXPECT_NE(blocked(once, "3000", Protocol::udp), once);
  // Behind a rule that forwards it does not block.
  const std::string behind =
      "<forwards><auto><rule guest-port=\"3000\"/><rule action=\"block\" guest-port=\"3000\" "
      "marked=\"yes\"/></auto></forwards>";
  EXPECT_NE(blocked(behind), behind);
}

TEST(Block, UnblockTakesAwayMarkedRulesOnly) {
  for (const char* kept :
       {"<forwards><auto><rule action=\"block\" guest-port=\"3000\"/></auto></forwards>",
        "<forwards><auto><rule action=\"block\" guest-port=\"3000\" process=\"x\" "
        "marked=\"yes\"/></auto></forwards>",
        "<forwards><auto><rule action=\"ignore\" guest-port=\"3000\" marked=\"yes\"/></auto>"
        "</forwards>",
        "<forwards><auto enabled=\"policy\"/></forwards>", "<forwards/>", ""})
    EXPECT_EQ(unblocked(kept), kept);
}

TEST(Block, UnblockTakesPortsOutOfARange) {
  const std::string range = blocked("", "3000-3009");
  EXPECT_THAT(unblocked(range, "3004"), HasSubstr("guest-port=\"3000-3003\""));
  EXPECT_THAT(unblocked(range, "3004"), HasSubstr("guest-port=\"3005-3009\""));
  EXPECT_THAT(unblocked(range, "3000"), HasSubstr("guest-port=\"3001-3009\""));
  EXPECT_THAT(unblocked(range, "3009"), HasSubstr("guest-port=\"3000-3008\""));
  EXPECT_EQ(unblocked(range, "1-65535"), "");
}

TEST(Block, RandomBlocksAndUnblocksAreASet) {
  std::mt19937 random(5);
  std::string xml;
  std::set<unsigned> expected;
  for (int round = 0; round < 400; ++round) {
    const auto low = static_cast<unsigned>(3000 + random() % 20);
    const auto high = static_cast<unsigned>(low + random() % 5);
    const bool block = random() % 2 == 0;
    const PortRange range = *PortRange::from(*Port::from(low), *Port::from(high));
    const auto result = block ? with_block_added(xml, Protocol::tcp, range)
                              : with_block_removed(xml, Protocol::tcp, range);
    ASSERT_TRUE(result) << result.error().message;
    xml = *result;
    for (unsigned port = low; port <= high; ++port)
      block ? (void)expected.insert(port) : (void)expected.erase(port);
    const ParsedDefinitions parsed = parse_definitions(xml);
    ASSERT_TRUE(parsed.errors.empty()) << xml;
    for (unsigned number = 2990; number < 3030; ++number) {
      const DetectedPort port{
          .port = *Port::from(number), .addresses = {IpAddress::v4({0, 0, 0, 0})}, .process = {}};
      const AutoDecision decision = decide(parsed.definitions.automatic, {.automatic = true}, port);
      ASSERT_EQ(decision.state == DetectedState::blocked, expected.contains(number)) << xml;
    }
  }
}

TEST(Block, IsRefusedPastTheMostRules) {
  std::string xml = "<forwards><auto>";
  for (std::size_t count = 0; count < DefinitionLimits::rules; ++count)
    xml += "<rule action=\"ignore\"/>";
  xml += "</auto></forwards>";
  EXPECT_THAT(blocked(xml), HasSubstr("the most there can be"));
  EXPECT_THAT(blocked("<forwards"), HasSubstr("cannot be edited"));
}

std::string allowed(std::string_view xml, const std::string& range = "3000",
                    const std::string& process = "", const AutoRule* asking = nullptr) {
  static const AutoRule any{.action = RuleAction::ask};
  if (!asking && !process.empty()) asking = &any;
  return done(with_allow_added(xml, allowing_rule(asking, Protocol::tcp, ports(range), process),
                               ports(range), asking));
}

DetectedState state_of(std::string_view xml, unsigned number, const std::string& process) {
  const ParsedDefinitions parsed = parse_definitions(xml);
  EXPECT_TRUE(parsed.errors.empty()) << xml;
  DetectedPort port{
      .port = *Port::from(number), .addresses = {IpAddress::v4({0, 0, 0, 0})}, .process = {}};
  port.process.name = process;
  return decide(parsed.definitions.automatic, {.automatic = true}, port).state;
}

constexpr auto asks =
    "<forwards>\n"
    "  <auto>\n"
    "    <rule action=\"ask\"/>\n"
    "  </auto>\n"
    "</forwards>";

// A guest's process may be called by what no XML can carry.
TEST(Allow, OfAProcessByWhateverNameCanBeReadAgain) {
  for (const char* name :
       {"\xef\xbf\xbe", "\xef\xbf\xbf", "\xf0\x9f\xbf\xbe", "\xef\xb7\x90", "\x01", "\x0b\x0c\n",
        "\xc2\x85", "\xed\xa0\x80", "\xff", "*?[\\]<&\"'>"}) {
    const std::string told = printable(name);
    const std::string after = allowed(asks, "3000", told);
    EXPECT_EQ(state_of(after, 3000, told), DetectedState::forwarded) << after;
    EXPECT_EQ(state_of(after, 3000, "another"), DetectedState::asking) << after;
  }
}

TEST(Allow, OfAPortGoesInFront) {
  EXPECT_EQ(state_of(asks, 3000, "node"), DetectedState::asking);
  const std::string after = allowed(asks);
  EXPECT_EQ(after,
            "<forwards>\n"
            "  <auto>\n"
            "    <rule guest-port=\"3000\" marked=\"yes\"/>\n"
            "    <rule action=\"ask\"/>\n"
            "  </auto>\n"
            "</forwards>");
  EXPECT_EQ(state_of(after, 3000, "node"), DetectedState::forwarded);
  EXPECT_EQ(state_of(after, 3001, "node"), DetectedState::asking);
  EXPECT_EQ(allowed(after), after);
}

TEST(Allow, OfAProcessIsOfThatProcessAlone) {
  const std::string after = allowed(asks, "3000", "node");
  EXPECT_THAT(after, HasSubstr("<rule process=\"node\" marked=\"yes\"/>"));
  EXPECT_EQ(state_of(after, 4000, "node"), DetectedState::forwarded);
  EXPECT_EQ(state_of(after, 3000, "nodes"), DetectedState::asking);
  EXPECT_EQ(allowed(after, "3000", "node"), after);
  // A guest names its processes as it likes.
  const std::string any = allowed(asks, "3000", "*");
  EXPECT_EQ(state_of(any, 3000, "*"), DetectedState::forwarded);
  EXPECT_EQ(state_of(any, 3000, "node"), DetectedState::asking);
  for (const char* name : {"[a]", "a?c", "\\", "a\\*", "\"><rule/>"}) {
    const std::string strange = allowed(asks, "3000", name);
    EXPECT_EQ(state_of(strange, 3000, name), DetectedState::forwarded) << strange;
    EXPECT_EQ(state_of(strange, 3000, "abc"), DetectedState::asking) << strange;
    EXPECT_EQ(state_of(strange, 3000, "a"), DetectedState::asking) << strange;
  }
}

std::string disallowed(std::string_view xml, const std::string& range,
                       const std::string& process = "", std::vector<AutoRule> rules = {}) {
  return done(with_allow_removed(xml, {Protocol::tcp, ports(range), process, std::move(rules)}));
}

TEST(Allow, IsTakenBack) {
  const std::string one = allowed(asks);
  EXPECT_EQ(disallowed(one, "3000"), asks);
  EXPECT_EQ(disallowed(one, "3001"), one);
  EXPECT_EQ(disallowed(asks, "1-65535"), asks);
  EXPECT_EQ(disallowed("", "3000"), "");
  EXPECT_EQ(disallowed(allowed(""), "3000"), "");  // nothing of ours is left
}

TEST(Allow, IsTakenBackInParts) {
  const std::string after = disallowed(allowed(asks, "3000-3009"), "3004");
  EXPECT_THAT(after, HasSubstr("guest-port=\"3000-3003\""));
  EXPECT_THAT(after, HasSubstr("guest-port=\"3005-3009\""));
  EXPECT_EQ(state_of(after, 3004, "node"), DetectedState::asking);
  EXPECT_EQ(state_of(after, 3003, "node"), DetectedState::forwarded);
  EXPECT_EQ(disallowed(after, "3000-3009"), asks);
}

TEST(Allow, OfAProcessIsTakenBackByItsNameOrItsRule) {
  const std::string both = allowed(allowed(asks, "3000", "node"), "4000", "a*b");
  EXPECT_EQ(disallowed(both, "3000"), both);
  EXPECT_EQ(state_of(disallowed(both, "1-65535", "node"), 3000, "node"), DetectedState::asking);
  EXPECT_EQ(state_of(disallowed(both, "1-65535", "node"), 4000, "a*b"), DetectedState::forwarded);
  EXPECT_EQ(state_of(disallowed(both, "1-65535", "a*b"), 4000, "a*b"), DetectedState::asking);
  EXPECT_EQ(disallowed(both, "1-65535", "*"), both);
  const AutoRule node{.process = "node", .marked = true};
  EXPECT_EQ(state_of(disallowed(both, "3000", "", {node}), 3000, "node"), DetectedState::asking);
  // What somebody wrote is not an answer.
  constexpr auto own = "<forwards><auto><rule process=\"node\"/></auto></forwards>";
  EXPECT_EQ(disallowed(own, "1-65535", "node"), own);
}

TEST(Allow, KeepsWhatTheAskingRuleSays) {
  const AutoRule asking{.action = RuleAction::ask,
                        .guest_port = ports("8000-8009"),
                        .process = "n*",
                        .host = ports("18000-18009"),
                        .label = "web",
                        .open = true};
  EXPECT_THAT(allowed("", "8003", "", &asking),
              HasSubstr("<rule guest-port=\"8003\" host-port=\"18003\" label=\"web\" open=\"yes\" "
                        "marked=\"yes\"/>"));
  // The process is let through where it was asked about, and nowhere else.
  EXPECT_THAT(allowed("", "8003", "node", &asking),
              HasSubstr("<rule guest-port=\"8000-8009\" process=\"node\" "
                        "host-port=\"18000-18009\" label=\"web\" open=\"yes\" marked=\"yes\"/>"));
}

// What is decided before the question stays as it is.
TEST(Allow, OfAProcessGoesWhereItWasAskedFor) {
  constexpr auto rules =
      "<forwards><auto><rule action=\"block\" guest-port=\"4000\"/>"
      "<rule guest-port=\"5000\" host-port=\"15000\"/><rule action=\"ask\"/></auto></forwards>";
  const AutoRule asking{.action = RuleAction::ask};
  const std::string after = allowed(rules, "3000", "node", &asking);
  EXPECT_EQ(state_of(after, 3000, "node"), DetectedState::forwarded);
  EXPECT_EQ(state_of(after, 4000, "node"), DetectedState::blocked);
  EXPECT_THAT(after, HasSubstr("host-port=\"15000\"/><rule process=\"node\""));
  EXPECT_EQ(allowed(after, "3000", "node", &asking), after);
  // Last where that rule is not.
  const std::string other = allowed("<forwards><auto><rule action=\"block\"/></auto></forwards>",
                                    "3000", "node", &asking);
  EXPECT_EQ(state_of(other, 3000, "node"), DetectedState::blocked);
}

TEST(Allow, OfARangeKeepsItsPartOfTheHostPorts) {
  const AutoRule asking{
      .action = RuleAction::ask, .guest_port = ports("3000-3009"), .host = ports("13000-13009")};
  const std::string after = allowed("", "3002-3005", "", &asking);
  EXPECT_THAT(after, HasSubstr("guest-port=\"3002-3005\" host-port=\"13002-13005\""));
  const std::string parts = disallowed(after, "3003");
  EXPECT_THAT(parts, HasSubstr("guest-port=\"3002\" host-port=\"13002\""));
  EXPECT_THAT(parts, HasSubstr("guest-port=\"3004-3005\" host-port=\"13004-13005\""));
}

TEST(Allow, AndBlockOfAPortEndEachOther) {
  const std::string both = blocked(allowed(asks));
  EXPECT_EQ(state_of(both, 3000, ""), DetectedState::blocked);
  EXPECT_EQ(unblocked(both), asks);
  EXPECT_EQ(allowed(both), allowed(asks));
  const std::string range = allowed(blocked(asks, "3000-3009"), "3004");
  EXPECT_EQ(state_of(range, 3004, ""), DetectedState::forwarded);
  EXPECT_EQ(state_of(range, 3005, ""), DetectedState::blocked);
  // However often, the rules do not grow.
  std::string xml = asks;
  for (int round = 0; round < 50; ++round)
    xml = blocked(allowed(blocked(allowed(xml, "3001"), "3000"), "3000"), "3001");
  EXPECT_EQ(parse_definitions(xml).definitions.automatic->rules.size(), 3u) << xml;
}

TEST(Allow, OfAProcessLeavesBlocks) {
  const std::string after = allowed(blocked(asks, "5432"), "3000", "node");
  EXPECT_EQ(state_of(after, 5432, "node"), DetectedState::blocked);
  EXPECT_EQ(state_of(after, 3000, "node"), DetectedState::forwarded);
  EXPECT_EQ(state_of(blocked(after, "3000"), 3000, "node"), DetectedState::blocked);
  EXPECT_EQ(state_of(allowed(blocked(asks), "3000", "node"), 3000, "node"),
            DetectedState::forwarded);
}

TEST(Allow, IsRefusedPastTheMostRules) {
  std::string xml = "<forwards><auto>";
  for (std::size_t count = 0; count < DefinitionLimits::rules; ++count)
    xml += "<rule action=\"ignore\"/>";
  xml += "</auto></forwards>";
  EXPECT_THAT(allowed(xml), HasSubstr("the most there can be"));
  EXPECT_THAT(allowed("<forwards"), HasSubstr("cannot be edited"));
}

std::string switched(std::string_view xml, AutoMode mode) {
  return done(with_automatic(xml, mode));
}

TEST(Automatic, IsSwitchedAndKeepsItsRules) {
  EXPECT_EQ(switched("", AutoMode::yes), "<forwards>\n  <auto enabled=\"yes\"/>\n</forwards>");
  EXPECT_EQ(switched("", AutoMode::policy), "");
  EXPECT_EQ(switched(switched("", AutoMode::no), AutoMode::policy), "");
  EXPECT_EQ(switched("<forwards><auto/></forwards>", AutoMode::yes),
            "<forwards><auto/></forwards>");
  EXPECT_EQ(switched("<forwards><auto><rule/></auto></forwards>", AutoMode::no),
            "<forwards><auto enabled=\"no\"><rule/></auto></forwards>");
  EXPECT_EQ(switched("<forwards><auto enabled=\"no\"><rule/></auto></forwards>", AutoMode::policy),
            "<forwards><auto enabled=\"policy\"><rule/></auto></forwards>");
  const std::string with_block = blocked(switched("", AutoMode::yes));
  EXPECT_EQ(unblocked(with_block), "<forwards>\n  <auto enabled=\"yes\"/>\n</forwards>");
}

}  // namespace
}  // namespace vf
