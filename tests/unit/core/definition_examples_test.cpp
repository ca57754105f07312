// SPDX-License-Identifier: LGPL-2.1-or-later
//
// xml/examples/ through the parser and through xml/forwards.rng. A bad example says in its first
// comment which errors it has, and why the schema takes it nevertheless:
//
//     <!-- error: line 4: <forward> guest-port="90-80": allowed are ...
//          schema: valid, REASON -->

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <libxml/parser.h>
#include <libxml/relaxng.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <memory>
#include <random>
#include <string>

#include "core/definition_xml.h"

namespace vf {
namespace {

using testing::ElementsAreArray;
using testing::IsEmpty;
using testing::Not;

// Libxml2 writes to stderr otherwise.
void be_silent(void*, const char*, ...) {}

class Schema {
 public:
  Schema() {
    const std::string path = std::string(VF_SOURCE_DIR) + "/xml/forwards.rng";
    xmlRelaxNGParserCtxt* parser = xmlRelaxNGNewParserCtxt(path.c_str());
    schema_.reset(xmlRelaxNGParse(parser));
    xmlRelaxNGFreeParserCtxt(parser);
  }

  bool loaded() const { return schema_ != nullptr; }

  bool accepts(std::string_view xml) const {
    const std::unique_ptr<xmlDoc, decltype(&xmlFreeDoc)> document(
        xmlReadMemory(xml.data(), static_cast<int>(xml.size()), nullptr, nullptr,
                      XML_PARSE_NONET | XML_PARSE_NOERROR | XML_PARSE_NOWARNING),
        xmlFreeDoc);
    if (!document) return false;
    const std::unique_ptr<xmlRelaxNGValidCtxt, decltype(&xmlRelaxNGFreeValidCtxt)> validator(
        xmlRelaxNGNewValidCtxt(schema_.get()), xmlRelaxNGFreeValidCtxt);
    xmlRelaxNGSetValidErrors(validator.get(), be_silent, be_silent, nullptr);
    return xmlRelaxNGValidateDoc(validator.get(), document.get()) == 0;
  }

 private:
  struct Free {
    void operator()(xmlRelaxNG* schema) const { xmlRelaxNGFree(schema); }
  };
  std::unique_ptr<xmlRelaxNG, Free> schema_;
};

const Schema& schema() {
  static const Schema instance;
  return instance;
}

std::vector<std::filesystem::path> examples(const char* folder) {
  std::vector<std::filesystem::path> paths;
  for (const auto& entry :
       std::filesystem::directory_iterator(std::string(VF_SOURCE_DIR) + "/xml/examples/" + folder))
    if (entry.path().extension() == ".xml") paths.push_back(entry.path());
  std::sort(paths.begin(), paths.end());
  return paths;
}

std::string content(const std::filesystem::path& path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), {}};
}

// What stands behind `key` in each line of the example's first comment.
std::vector<std::string> claims(std::string_view xml, std::string_view key) {
  std::vector<std::string> found;
  std::string_view comment = xml.substr(0, xml.find("-->"));
  while (!comment.empty()) {
    std::string_view line = comment.substr(0, comment.find('\n'));
    comment.remove_prefix(std::min(comment.size(), line.size() + 1));
    if (line.starts_with("<!--")) line.remove_prefix(4);
    while (line.starts_with(' '))
      line.remove_prefix(1);
    while (line.ends_with(' '))
      line.remove_suffix(1);
    if (line.starts_with(key)) found.emplace_back(line.substr(key.size()));
  }
  return found;
}

std::vector<std::string> texts(const std::vector<DefinitionError>& errors) {
  std::vector<std::string> result;
  for (const DefinitionError& error : errors)
    result.push_back(error.text());
  return result;
}

TEST(DefinitionExamples, AreEnough) {
  EXPECT_TRUE(schema().loaded());
  EXPECT_GE(examples("good").size(), 25u);
  EXPECT_GE(examples("bad").size(), 50u);
}

TEST(DefinitionExamples, GoodOnesPassParserAndSchema) {
  for (const auto& path : examples("good")) {
    SCOPED_TRACE(path.filename());
    const std::string xml = content(path);
    EXPECT_THAT(texts(parse_definitions(xml).errors), IsEmpty());
    EXPECT_TRUE(schema().accepts(xml));
  }
}

TEST(DefinitionExamples, BadOnesHaveTheErrorsTheySay) {
  for (const auto& path : examples("bad")) {
    SCOPED_TRACE(path.filename());
    const std::string xml = content(path);
    const auto expected = claims(xml, "error: ");
    EXPECT_THAT(expected, Not(IsEmpty()));
    EXPECT_THAT(texts(parse_definitions(xml).errors), ElementsAreArray(expected));
  }
}

TEST(DefinitionExamples, SchemaRefusesBadOnesUnlessTheySayWhyNot) {
  for (const auto& path : examples("bad")) {
    SCOPED_TRACE(path.filename());
    const std::string xml = content(path);
    const auto reasons = claims(xml, "schema: valid, ");
    EXPECT_EQ(schema().accepts(xml), !reasons.empty());
  }
}

TEST(DefinitionExamples, WhatIsWrittenBackSaysTheSame) {
  for (const auto& path : examples("good")) {
    SCOPED_TRACE(path.filename());
    const Definitions definitions = parse_definitions(content(path)).definitions;
    const std::string written = write_definitions(definitions);
    const ParsedDefinitions again = parse_definitions(written);
    EXPECT_THAT(texts(again.errors), IsEmpty()) << written;
    EXPECT_EQ(again.definitions, definitions) << written;
    EXPECT_TRUE(schema().accepts(written)) << written;
  }
}

// Values made of the characters that matter, through both. `beyond` tells the errors that a schema
// cannot see.
struct ValueCase {
  const char* attribute;
  const char* rest;  // what else the forward needs
  std::vector<std::string> pieces;
  bool (*beyond)(const std::string&);
};

bool never(const std::string&) {
  return false;
}

bool backwards(const std::string& value) {
  const auto dash = value.find('-');
  if (dash == std::string::npos) return false;
  const auto low = Port::parse(value.substr(0, dash));
  const auto high = Port::parse(value.substr(dash + 1));
  return low && high && *high < *low;
}

bool no_host_address(const std::string& value) {
  const auto address = IpAddress::parse(value);
  if (!address) return false;
  const auto bytes = address->bytes();
  if (address->is_v4()) return bytes[0] >= 224 && bytes[0] < 240;
  const std::string text = address->text();
  return bytes[0] == 0xff || text.starts_with("::ffff:") ||
         IpAddress::parse(text)->in_subnet(*IpAddress::parse("::ffff:0:0"), 96);
}

class ValueAgreement : public testing::TestWithParam<ValueCase> {};

TEST_P(ValueAgreement, OfParserAndSchema) {
  const ValueCase& values = GetParam();
  std::mt19937 random(7);
  int good = 0;
  for (int round = 0; round < 2000; ++round) {
    std::string value;
    for (auto count = random() % 10; count > 0; --count)
      value += values.pieces[random() % values.pieces.size()];
    const std::string xml = "<forwards xmlns=\"urn:virt-forward:1\"><forward " +
                            std::string(values.rest) + " " + values.attribute + "=\"" + value +
                            "\"/></forwards>";
    const bool parsed = parse_definitions(xml).errors.empty();
    good += parsed;
    if (parsed || !values.beyond(value)) {
      EXPECT_EQ(schema().accepts(xml), parsed) << xml;
    }
  }
  EXPECT_GT(good, 20) << "too few of the values were any good";
}

INSTANTIATE_TEST_SUITE_P(
    Definition, ValueAgreement,
    testing::Values(
        ValueCase{
            "guest-port", "", {"0", "1", "3", "5", "6", "55", "8", "-", "65535", " "}, backwards},
        ValueCase{"host-address",
                  "guest-port='1'",
                  {"0", "1", "7", "25", "255", ".", ".", ".", "10.", "127.0.0.", "%"},
                  no_host_address},
        ValueCase{
            "host-address",
            "guest-port='1'",
            {":", ":", ":", "::", "0", "1", "fe80", "a", "F", "12", "1:", "2:", "3:", "1.2.3.4"},
            no_host_address},
        ValueCase{
            "host-socket", "guest-port='1'", {".", "..", "/", "a", "b c", "é", "&#10;"}, never},
        ValueCase{"guest-socket", "", {"/", "/", "/a", ".", "..", "x.sock"}, never},
        ValueCase{"name",
                  "guest-port='1'",
                  {" ", "a", "é", "#", "日本", "&#x9b;", "&quot;", "&#x202e;"},
                  never},
        ValueCase{"label",
                  "guest-port='1'",
                  {" ", "a", "&#9;", "😀", "&#x85;", "&#xA0;", "&#x2066;"},
                  never},
        ValueCase{
            "scheme", "guest-port='1'", {"a", "http", "+", "-", ".", "A", "0", "_", ":"}, never},
        ValueCase{"max-connections", "guest-port='1'", {"0", "1", "99", "-", "+", "12345"}, never},
        ValueCase{"idle-timeout", "guest-port='1'", {"none", "1", "0", "23"}, never}),
    [](const auto& test) {
      std::string name = test.param.attribute + std::to_string(test.index);
      std::erase(name, '-');
      return name;
    });

}  // namespace
}  // namespace vf
