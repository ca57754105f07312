// SPDX-License-Identifier: LGPL-2.1-or-later
//
// What --help says, the man pages and the completions say too.

#include <filesystem>
#include <fstream>
#include <regex>
#include <set>

#include "cli/verb.h"
#include "program_lab.h"

namespace vf {
namespace {

std::string content(const std::filesystem::path& path) {
  std::ifstream file(path);
  return {std::istreambuf_iterator<char>(file), {}};
}

std::filesystem::path source(const char* path) {
  return std::filesystem::path(VF_SOURCE_DIR) / path;
}

// "--name" and "-n" of a page of help.
std::set<std::string> options_in(const std::string& help) {
  std::set<std::string> options;
  static const std::regex option("(^|\\s)(--?[a-z][a-z-]*|-[A-Z])\\b");
  for (std::sregex_iterator at(help.begin(), help.end(), option), end; at != end; ++at)
    options.insert((*at)[2]);
  return options;
}

// Whether the word stands there and not a longer one.
bool names(const std::string& text, const std::string& word) {
  return std::regex_search(text, std::regex("(^|[^a-zA-Z0-9-])" + word + "($|[^a-z-])"));
}

class Manual : public ProgramLab {
 protected:
  std::string help(const std::vector<std::string>& arguments) {
    const ProgramResult result = run_program(command(arguments));
    EXPECT_EQ(result.status, 0) << result.err;
    EXPECT_EQ(result.err, "");
    return result.out;
  }
};

TEST_F(Manual, EveryVerbAndOptionIsInItsPage) {
  const std::string overview = content(source("contrib/man/virt-forward.1.scd"));
  for (const std::string& option : options_in(help({"--help"})))
    EXPECT_TRUE(names(overview, option)) << option;
  for (const Verb* verb : verbs()) {
    if (verb->hidden) continue;
    const std::string name(verb->name);
    EXPECT_NE(overview.find("*virt-forward-" + name + "*(1)"), std::string::npos) << name;
    const std::string page = content(source("contrib/man") / ("virt-forward-" + name + ".1.scd"));
    const std::string text = help({name, "--help"});
    EXPECT_NE(text.find("virt-forward " + name + " [OPTION"), std::string::npos) << text;
    for (const std::string& option : options_in(text))
      EXPECT_TRUE(names(page, option) || (option.size() == 2 && names(overview, option)))
          << name << ' ' << option;
  }
}

// As an option is set in a page: in bold.
std::set<std::string> options_of_page(const std::string& page) {
  std::set<std::string> options;
  static const std::regex option("\\*(--[a-z][a-z-]*)");
  for (std::sregex_iterator at(page.begin(), page.end(), option), end; at != end; ++at)
    options.insert((*at)[1]);
  return options;
}

TEST_F(Manual, NoPageHasAnOptionThatItsVerbHasNot) {
  for (const Verb* verb : verbs()) {
    if (verb->hidden) continue;
    const std::string name(verb->name);
    const std::set<std::string> options = options_in(help({name, "--help"}));
    const auto of_page =
        options_of_page(content(source("contrib/man") / ("virt-forward-" + name + ".1.scd")));
    EXPECT_FALSE(of_page.empty()) << name;
    for (const std::string& option : of_page)
      EXPECT_TRUE(options.contains(option)) << name << ' ' << option;
  }
}

// What stands behind the verb, too: "DOMAIN FILE|-" is "_DOMAIN_ _FILE_|-" there.
TEST_F(Manual, EverySynopsisHasTheArgumentsOfTheUsageLine) {
  for (const Verb* verb : verbs()) {
    if (verb->hidden) continue;
    std::string page =
        content(source("contrib/man") / ("virt-forward-" + std::string(verb->name) + ".1.scd"));
    const std::size_t begin = page.find("# SYNOPSIS");
    page = page.substr(begin, page.find("# DESCRIPTION") - begin);
    for (const char* mark : {"_", "*", "..."})
      for (std::size_t at = 0; (at = page.find(mark)) != std::string::npos;)
        page.erase(at, std::string_view(mark).size());
    std::string parameters(verb->parameters);
    for (std::size_t at = 0; (at = parameters.find("…")) != std::string::npos;)
      parameters.erase(at, std::string_view("…").size());
    for (std::size_t at = 0; at < parameters.size();) {
      const std::size_t end = std::min(parameters.find(" | ", at), parameters.size());
      const std::string one = parameters.substr(at, end - at);
      EXPECT_NE(page.find(one), std::string::npos) << one << '\n' << page;
      at = end + 3;
    }
  }
}

TEST_F(Manual, TheDaemonAndTheRelayToo) {
  const std::pair<const char*, const char*> programs[] = {
      {VF_DAEMON_PROGRAM, "contrib/man/virt-forwardd.8.scd"},
      {VF_RELAY_PROGRAM_BUILT, "contrib/man/virt-forward-relay.1.scd"}};
  for (const auto& [program, page] : programs) {
    const ProgramResult result =
        run_program({"/usr/bin/env", "-i", "ASAN_OPTIONS=detect_leaks=0", program, "--help"});
    EXPECT_EQ(result.status, 0) << result.err;
    const std::string text = content(source(page));
    for (const std::string& option : options_in(result.out))
      if (option != "-help" && option != "--help-all") {
        EXPECT_TRUE(names(text, option)) << page << ' ' << option;
      }
  }
}

TEST_F(Manual, EveryVerbAndLongOptionIsCompleted) {
  const std::string bash = content(source("contrib/completions/virt-forward.bash"));
  const std::string zsh = content(source("contrib/completions/_virt-forward"));
  const std::string fish = content(source("contrib/completions/virt-forward.fish"));
  for (const Verb* verb : verbs()) {
    if (verb->hidden) continue;
    const std::string name(verb->name);
    EXPECT_TRUE(names(zsh, name)) << name;
    EXPECT_NE(fish.find("-a " + name + " -d"), std::string::npos) << name;
    for (const std::string& option : options_in(help({name, "--help"}))) {
      if (option.size() == 2) continue;
      EXPECT_TRUE(names(bash, option)) << name << ' ' << option;
      EXPECT_TRUE(names(zsh, option)) << name << ' ' << option;
      EXPECT_TRUE(names(fish, "-l " + option.substr(2))) << name << ' ' << option;
    }
  }
}

TEST_F(Manual, ThePagesAreWellFormed) {
  unsigned pages = 0;
  for (const auto& entry : std::filesystem::directory_iterator(source("contrib/man"))) {
    if (entry.path().extension() != ".scd") continue;
    ++pages;
    const ProgramResult result =
        run_program({"/bin/sh", "-c", "exec scdoc < \"$1\"", "sh", entry.path()});
    EXPECT_EQ(result.status, 0) << entry.path() << result.err;
    EXPECT_NE(result.out.find(".SH NAME"), std::string::npos) << entry.path();
  }
  EXPECT_GE(pages, 11u);
}

// "README.md, "Install"" is a heading there.
TEST_F(Manual, TheDemoEndsWithAHeadingOfTheReadme) {
  const std::string demo = content(source("contrib/demo"));
  std::smatch named;
  ASSERT_TRUE(std::regex_search(demo, named, std::regex("README\\.md, \"([^\"]*)\"")));
  EXPECT_NE(content(source("README.md")).find("\n## " + named[1].str() + "\n"), std::string::npos)
      << named[1];
}

TEST_F(Manual, TheVersionIsPrinted) {
  EXPECT_TRUE(std::regex_match(help({"--version"}), std::regex("virt-forward [0-9.]+\n")));
}

}  // namespace
}  // namespace vf
