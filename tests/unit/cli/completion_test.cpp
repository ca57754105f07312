// SPDX-License-Identifier: LGPL-2.1-or-later
//
// The completion scripts in the real shells, with the real program in PATH.

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <regex>
#include <set>
#include <sstream>

#include "cli/verb.h"
#include "program_lab.h"

namespace vf {
namespace {

class Completion : public ProgramLab {
 protected:
  Completion() {
    daemon_.model.add(fake_domain());
    daemon_.model.add(fake_domain(uuid2, "my db"));
    daemon_.model.add(fake_forward());
    ForwardView ssh = fake_forward("ssh", uuid2);
    daemon_.model.add(ssh);
    std::filesystem::create_symlink(VF_PROGRAM, directory_.path("virt-forward"));
  }

  static std::string script(const char* name) {
    return std::string(VF_SOURCE_DIR "/contrib/completions/") + name;
  }

  // The words of a shell's output, sorted, in one line.
  std::string shell(std::vector<std::string> words) {
    words.insert(words.begin(),
                 {"/usr/bin/env", "-i", "PATH=" + directory_.root() + ":/usr/bin:/bin",
                  "LC_ALL=C.UTF-8", "TERM=dumb", "HOME=" + directory_.root(),
                  "XDG_RUNTIME_DIR=" + directory_.root(), "ASAN_OPTIONS=detect_leaks=0",
                  "DBUS_SYSTEM_BUS_ADDRESS=unix:path=" + directory_.path("no-bus")});
    const ProgramResult result = run_program(words);
    EXPECT_EQ(result.status, 0) << result.err;
    EXPECT_EQ(result.err, "");
    std::istringstream lines(result.out);
    std::vector<std::string> sorted;
    for (std::string line; std::getline(lines, line);)
      if (!line.empty()) sorted.push_back(line);
    std::sort(sorted.begin(), sorted.end());
    std::string text;
    for (const std::string& line : sorted)
      text += (text.empty() ? "" : "|") + line;
    return text;
  }

  std::string bash(const std::string& line) {
    const std::string program =
        "source " + script("virt-forward.bash") +
        "; COMP_LINE=$1 COMP_POINT=${#1}; _virt_forward; printf '%s\\n' \"${COMPREPLY[@]}\"";
    return shell({"/bin/bash", "-c", program, "bash", line});
  }

  std::string fish(const std::string& line) {
    // Without the descriptions.
    return shell({"/usr/bin/fish", "--no-config", "-c",
                  "source " + script("virt-forward.fish") + "; complete -C '" + line +
                      "' | string replace -r '\\t.*' ''; true"});
  }

  // A function in place of compadd says what would be offered.
  std::string zsh(const std::string& line) {
    const std::string capture = std::string(VF_SOURCE_DIR) + "/tests/unit/cli/zsh_completions";
    return shell({"/usr/bin/zsh", "-f", capture, VF_SOURCE_DIR "/contrib/completions", line});
  }

  std::string daemon() const { return "--address " + daemon_.address; }
};

TEST_F(Completion, BashCompletesVerbsOptionsAndNames) {
  EXPECT_EQ(bash("virt-forward "),
            "add|allow|auto|block|disable|doctor|enable|explain|export|import|list|remove|unblock|"
            "url|watch");
  EXPECT_EQ(bash("virt-forward re"), "remove");
  EXPECT_EQ(bash("virt-forward --ver"), "--version");
  EXPECT_EQ(bash("virt-forward add web 80 --on-busy "), "any|fail|next");
  EXPECT_EQ(bash("virt-forward add web 80 --on-busy=f"), "fail");
  EXPECT_EQ(bash("virt-forward list -c qemu:///s"), "///session|///system");
  EXPECT_EQ(bash("virt-forward " + daemon() + " url "), "my\\ db|web");
  EXPECT_EQ(bash("virt-forward " + daemon() + " list web my"), "my\\ db");
  EXPECT_EQ(bash("virt-forward " + daemon() + " remove my\\ db "), "ssh");
  EXPECT_EQ(bash("virt-forward " + daemon() + " remove web tcp:80"), "8080:80");
  EXPECT_EQ(bash("virt-forward " + daemon() + " add web "), "");
}

// readline quotes what it takes for files itself, and puts a slash behind a directory.
TEST_F(Completion, BashLeavesTheQuotingOfFilesToReadline) {
  std::filesystem::create_directories(directory_.path("files/a dir"));
  std::ofstream(directory_.path("files/a list")) << "80\n";
  const std::string program =
      "compopt() { echo \"compopt $*\"; }; cd \"$HOME/files\"; source " +
      script("virt-forward.bash") +
      "; COMP_LINE=$1 COMP_POINT=${#1}; _virt_forward; printf '%s\\n' \"${COMPREPLY[@]}\"";
  const auto files = [&](const std::string& line) {
    return shell({"/bin/bash", "-c", program, "bash", line});
  };
  EXPECT_EQ(files("virt-forward import web a"), "a dir|a list|compopt -o filenames");
  EXPECT_EQ(files("virt-forward import web a\\ d"), "a dir|compopt -o filenames");
  EXPECT_EQ(files("virt-forward import web ~/files/a\\ d"), "compopt -o filenames|~/files/a dir");
  EXPECT_EQ(files("virt-forward explain web 80 --metadata a\\ l"), "a list|compopt -o filenames");
}

TEST_F(Completion, FishCompletesVerbsOptionsAndNames) {
  EXPECT_EQ(fish("virt-forward "),
            "add|allow|auto|block|disable|doctor|enable|explain|export|import|list|remove|unblock|"
            "url|watch");
  EXPECT_EQ(fish("virt-forward re"), "remove");
  EXPECT_EQ(fish("virt-forward add web 80 --on-busy "), "any|fail|next");
  EXPECT_EQ(fish("virt-forward " + daemon() + " url "), "my db|web");
  EXPECT_EQ(fish("virt-forward " + daemon() + " remove my\\ db "), "ssh");
  EXPECT_EQ(fish("virt-forward " + daemon() + " remove web "), "tcp:8080:80");
  EXPECT_EQ(fish("virt-forward " + daemon() + " add web "), "");
}

TEST_F(Completion, ZshCompletesVerbsOptionsAndNames) {
  EXPECT_EQ(zsh("virt-forward re"), "remove");
  EXPECT_EQ(zsh("virt-forward add web 80 --on-busy="), "any|fail|next");
  EXPECT_EQ(zsh("virt-forward " + daemon() + " url "), "my db|web");
  EXPECT_EQ(zsh("virt-forward " + daemon() + " remove web "), "tcp:8080:80");
  EXPECT_EQ(zsh("virt-forward " + daemon() + " remove my\\ db "), "ssh");
}

// The options of a page of help, long ones, in the order of shell().
std::string options_of(const std::string& help) {
  std::set<std::string> options;
  static const std::regex option("--[a-z][a-z-]*");
  for (std::sregex_iterator at(help.begin(), help.end(), option), end; at != end; ++at)
    options.insert(at->str());
  std::string text;
  for (const std::string& one : options)
    text += (text.empty() ? "" : "|") + one;
  return text;
}

// As zsh and fish spell an option that takes a value.
std::string without_signs(std::string text) {
  std::erase(text, '=');
  return text;
}

class CompletionOfOptions : public Completion {
 protected:
  // `offered` is what a shell offers for a line.
  template <typename Offered>
  void every_verb(Offered offered) {
    for (const Verb* verb : verbs()) {
      if (verb->hidden) continue;
      const std::string name(verb->name);
      const ProgramResult help = run({name, "--help"});
      ASSERT_EQ(help.status, 0);
      EXPECT_EQ(without_signs(offered("virt-forward " + name + " --")), options_of(help.out))
          << name;
    }
  }
};

TEST_F(CompletionOfOptions, BashOffersExactlyThoseOfTheVerb) {
  every_verb([this](const std::string& line) { return bash(line); });
}

TEST_F(CompletionOfOptions, FishOffersExactlyThoseOfTheVerb) {
  every_verb([this](const std::string& line) { return fish(line); });
}

TEST_F(CompletionOfOptions, ZshOffersExactlyThoseOfTheVerb) {
  every_verb([this](const std::string& line) { return zsh(line); });
}

TEST_F(Completion, IsSilentWithoutADaemon) {
  EXPECT_EQ(bash("virt-forward url "), "");
  EXPECT_EQ(fish("virt-forward url "), "");
  EXPECT_EQ(zsh("virt-forward url "), "");
}

}  // namespace
}  // namespace vf
