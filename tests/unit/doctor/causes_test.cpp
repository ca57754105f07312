// SPDX-License-Identifier: LGPL-2.1-or-later
//
// Every finding is caused by a test that says so, with @causes("ID", ...) above it. That it does is
// the test's to prove: tests/e2e/conftest.py fails one that did not see what it says it causes.

#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <regex>
#include <set>

#include "doctor/finding_id.h"

namespace vf {
namespace {

using Words = std::set<std::string>;

std::string content(const std::filesystem::path& path) {
  std::ifstream file(path);
  return {std::istreambuf_iterator<char>(file), {}};
}

Words matches(const std::string& text, const char* pattern) {
  Words found;
  const std::regex expression(pattern);
  for (std::sregex_iterator at(text.begin(), text.end(), expression), end; at != end; ++at)
    found.insert((*at)[1]);
  return found;
}

Words known() {
  Words words_known;
  for (const auto& [id, word] : words<FindingId>())
    words_known.insert(std::string(word));
  return words_known;
}

TEST(Causes, EveryFindingHasATest) {
  Words caused;
  for (const auto& entry : std::filesystem::directory_iterator(VF_SOURCE_DIR "/tests/e2e")) {
    const std::string name = entry.path().filename();
    if (!name.starts_with("test_doctor") || !name.ends_with(".py")) continue;
    for (const std::string& arguments : matches(content(entry.path()), R"(causes\(([^)]*)\))"))
      caused.merge(matches(arguments, R"x("([a-z-]+)")x"));
  }
  EXPECT_EQ(caused, known());
}

TEST(Causes, EveryFindingIsInTheManual) {
  const std::string page = content(VF_SOURCE_DIR "/contrib/man/virt-forward-doctor.1.scd");
  const std::size_t begin = page.find("# FINDINGS");
  Words told = matches(page.substr(begin, page.find("# EXAMPLES") - begin), R"(\*([a-z-]+)\*)");
  EXPECT_EQ(told.erase("not-checked"), 1u);
  EXPECT_EQ(told, known());
}

}  // namespace
}  // namespace vf
