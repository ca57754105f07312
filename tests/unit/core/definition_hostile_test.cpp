// SPDX-License-Identifier: LGPL-2.1-or-later
//
// Documents that were made to hurt: each is refused, quickly, with an error and without output.

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <time.h>

#include <chrono>

#include "core/definition_xml.h"

namespace vf {
namespace {

using testing::HasSubstr;
using testing::IsEmpty;
using testing::Not;
using testing::SizeIs;

std::string repeated(std::string_view text, std::size_t count) {
  std::string result;
  for (; count > 0; --count)
    result += text;
  return result;
}

// No definitions and one error, whose text is returned.
std::string refusal(std::string_view xml) {
  testing::internal::CaptureStderr();
  const auto parsed = parse_definitions(xml);
  EXPECT_EQ(testing::internal::GetCapturedStderr(), "");
  EXPECT_EQ(parsed.definitions, Definitions{});
  if (parsed.errors.size() != 1) return std::to_string(parsed.errors.size()) + " errors";
  return parsed.errors[0].text();
}

TEST(HostileDefinitions, BillionLaughs) {
  std::string xml = "<!DOCTYPE forwards [<!ENTITY l0 \"ha\">";
  for (int level = 1; level < 10; ++level) {
    const std::string inner = "&l" + std::to_string(level - 1) + ";";
    xml += "<!ENTITY l" + std::to_string(level) + " \"" + repeated(inner, 10) + "\">";
  }
  xml += "]><forwards><forward guest-port=\"80\" label=\"&l9;\"/>&l9;</forwards>";
  EXPECT_EQ(refusal(xml), "line 1: document type declaration; allowed are documents without one");
}

TEST(HostileDefinitions, ExternalEntity) {
  EXPECT_THAT(refusal("<!DOCTYPE forwards [<!ENTITY x SYSTEM \"file:///etc/passwd\">]>\n"
                      "<forwards><forward guest-port=\"80\" label=\"&x;\"/></forwards>"),
              HasSubstr("document type declaration"));
}

TEST(HostileDefinitions, ParameterEntity) {
  EXPECT_THAT(refusal("<!DOCTYPE f [<!ENTITY % p SYSTEM \"file:///dev/zero\"> %p;]><forwards/>"),
              HasSubstr("document type declaration"));
}

TEST(HostileDefinitions, NestedDeeply) {
  const std::string open = "<a>";
  const std::string close = "</a>";
  EXPECT_EQ(
      refusal("<forwards>\n" + repeated(open, 100000) + repeated(close, 100000) + "</forwards>"),
      "line 2: elements nested deeper than 16; allowed are 16 levels");
  EXPECT_THAT(refusal(repeated(open, 100000)), HasSubstr("nested deeper"));
}

TEST(HostileDefinitions, TooLarge) {
  EXPECT_EQ(refusal("<forwards>" + std::string(2 << 20, ' ') + "</forwards>"),
            "line 1: 2097173 bytes; allowed are documents of at most 1048576 bytes");
}

TEST(HostileDefinitions, Nul) {
  using namespace std::string_view_literals;
  EXPECT_EQ(refusal("<forwards/>\n\0<x>"sv),
            "line 2: \\x00; allowed are documents in UTF-8 without NUL");
  EXPECT_THAT(refusal("\0"sv), HasSubstr("without NUL"));
  EXPECT_THAT(refusal("<forwards><forward guest-port=\"80\0\"/></forwards>"sv),
              HasSubstr("without NUL"));
}

TEST(HostileDefinitions, NotUtf8) {
  EXPECT_EQ(refusal("<forwards>\n\n<!-- \xff --></forwards>"),
            "line 3: \\xff; allowed are documents in UTF-8 without NUL");
  EXPECT_THAT(refusal("<forwards><forward label=\"\xc0\xaf\"/></forwards>"), HasSubstr("UTF-8"));
  EXPECT_THAT(refusal("<forwards><forward label=\"\xed\xa0\x80\"/></forwards>"),
              HasSubstr("UTF-8"));
  EXPECT_THAT(refusal("<forwards>\xe2\x82"), HasSubstr("UTF-8"));
}

TEST(HostileDefinitions, AnotherEncodingIsNotBelieved) {
  // In UTF-7 this would be another document.
  const auto parsed = parse_definitions(
      "<?xml version=\"1.0\" encoding=\"UTF-7\"?><forwards><forward guest-port=\"80\" "
      "label=\"+ADwAPg-\"/></forwards>");
  ASSERT_THAT(parsed.definitions.forwards, SizeIs(1));
  EXPECT_EQ(parsed.definitions.forwards[0].label, "+ADwAPg-");
}

TEST(HostileDefinitions, ControlCharacterReferences) {
  EXPECT_THAT(refusal("<forwards><forward label=\"&#0;\"/></forwards>"), HasSubstr("well-formed"));
  EXPECT_THAT(refusal("<forwards><forward label=\"&#27;\"/></forwards>"), HasSubstr("well-formed"));
  EXPECT_THAT(refusal("<forwards><forward label=\"&#xD800;\"/></forwards>"),
              HasSubstr("well-formed"));
}

TEST(HostileDefinitions, ErrorTextsOfTheDocumentArePrintable) {
  const std::string text = refusal("<forwards>\n<\xc2\x9b\xe2\x80\xae></forwards>");
  EXPECT_THAT(text, HasSubstr("line 2: "));
  EXPECT_THAT(text, Not(HasSubstr("\xe2\x80\xae")));
  EXPECT_THAT(refusal("<forwards><" + std::string(300000, 'a') + "></forwards>").size(),
              testing::Lt(400u));
}

TEST(HostileDefinitions, NoText) {
  for (const char* xml : {" ", "<", "\xef\xbb\xbf", "<!-- -->", "<?xml version=\"1.0\"?>", "80",
                          "<forwards", "<forwards><![CDATA[", "<?xml", "&amp;"})
    EXPECT_THAT(refusal(xml), HasSubstr("allowed are well-formed documents")) << xml;
}

TEST(HostileDefinitions, ProcessingInstructionsAndInclusionsDoNothing) {
  testing::internal::CaptureStderr();
  const auto parsed = parse_definitions(
      "<?xml-stylesheet href=\"file:///etc/passwd\"?>"
      "<forwards xmlns:xi=\"http://www.w3.org/2001/XInclude\">"
      "<?php system('id') ?><xi:include href=\"file:///etc/passwd\" parse=\"text\"/>"
      "<xi:include href=\"/dev/zero\"/><forward guest-port=\"80\"/></forwards>");
  EXPECT_EQ(testing::internal::GetCapturedStderr(), "");
  EXPECT_THAT(parsed.errors, IsEmpty());
  EXPECT_THAT(parsed.definitions.forwards, SizeIs(1));
}

TEST(HostileDefinitions, ErrorsAreBounded) {
  const auto one_by_one =
      parse_definitions("<forwards>\n" + repeated("<x/>\n", 100000) + "</forwards>");
  EXPECT_THAT(one_by_one.errors, SizeIs(DefinitionLimits::errors + 1));
  EXPECT_THAT(one_by_one.errors.back().text(), HasSubstr("too much is wrong"));
}

TEST(HostileDefinitions, AttributesAreBounded) {
  const auto element = [](int count) {
    std::string text =
        "<forwards>\n<?x a=a ?><!-- <a =\" --><![CDATA[ <b ==== ]]>\n<x:y xmlns:x='='";
    for (int number = 1; number < count; ++number)
      text += " a" + std::to_string(number) + "='=='";
    return text + "/></forwards>";
  };
  EXPECT_THAT(parse_definitions(element(256)).errors, SizeIs(1)) << "the CDATA";
  EXPECT_EQ(refusal(element(257)),
            "line 3: an element with more than 256 attributes; allowed are 256 attributes");
}

TEST(HostileDefinitions, ForwardsAndRulesAreBounded) {
  std::string forwards;
  for (std::size_t number = 1; number <= DefinitionLimits::forwards + 3; ++number)
    forwards += "<forward guest-port='" + std::to_string(number) + "'/>\n";
  const auto parsed = parse_definitions("<forwards>" + forwards + "</forwards>");
  EXPECT_THAT(parsed.definitions.forwards, SizeIs(DefinitionLimits::forwards));
  ASSERT_THAT(parsed.errors, SizeIs(1));
  EXPECT_EQ(parsed.errors[0].text(), "line 4097: <forward>: one too many; allowed are 4096");

  const auto rules = parse_definitions(
      "<forwards><auto>" + repeated("<rule/>", DefinitionLimits::rules + 2) + "</auto></forwards>");
  ASSERT_THAT(rules.errors, SizeIs(1));
  EXPECT_EQ(rules.errors[0].text(), "line 1: <rule>: one too many; allowed are 1024");
}

std::chrono::nanoseconds processor_time() {
  timespec spent{};
  clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &spent);
  return std::chrono::seconds(spent.tv_sec) + std::chrono::nanoseconds(spent.tv_nsec);
}

// A megabyte of the most expensive input known. The bound is generous, for sanitizers.
TEST(HostileDefinitions, TakeNoTime) {
  std::string attributes;
  for (int number = 0; attributes.size() < 1000000; ++number)
    attributes += " a" + std::to_string(number) + "=''";
  std::string newlines = "<forwards>";
  while (newlines.size() < 1000000)
    newlines += "<forward\n\n\n\nx='' y='' z=''/>";
  const auto start = processor_time();
  parse_definitions("<forwards><forward" + attributes + "/></forwards>");
  parse_definitions(newlines + "</forwards>");
  parse_definitions("<forwards>" + repeated("<forward guest-port='1'/>", 40000) + "</forwards>");
  EXPECT_LT(processor_time() - start, std::chrono::seconds(60));
}

}  // namespace
}  // namespace vf
