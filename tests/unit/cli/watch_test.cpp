// SPDX-License-Identifier: LGPL-2.1-or-later

#include "program_lab.h"

namespace vf {
namespace {

class WatchVerb : public ProgramLab {
 protected:
  WatchVerb() {
    daemon_.model.add(fake_domain());
    daemon_.model.add(fake_domain(uuid2, "db"));
    daemon_.model.add(forward_);
  }
  std::vector<std::string> watch(std::vector<std::string> arguments = {}) {
    arguments.insert(arguments.begin(), {"--address", daemon_.address, "watch"});
    return command(arguments);
  }
  ForwardView forward_ = fake_forward();
};

bool is(const std::string& line, const std::string& event, const std::string& part) {
  return line.starts_with("{\"event\":\"" + event + "\",\"forward\":{") && line.ends_with("}}") &&
         line.find(part) != std::string::npos;
}

TEST_F(WatchVerb, TellsWhatIsThereThenEachChange) {
  RunningProgram program(watch());
  EXPECT_PRED3(is, program.line(), "added", "\"id\":\"tcp:8080:80\"");
  forward_.state = ForwardState::waiting;
  forward_.reason = "no address";
  daemon_.model.change(forward_);
  EXPECT_PRED3(is, program.line(), "changed", "\"reason\":\"no address\"");
  forward_.state = ForwardState::active;
  forward_.reason.clear();
  daemon_.model.change(forward_);
  const std::string line = program.line();
  EXPECT_PRED3(is, line, "changed", "\"state\":\"active\"");
  EXPECT_EQ(line.find("reason"), std::string::npos) << line;
  daemon_.model.add(fake_forward("second", uuid2));
  EXPECT_PRED3(is, program.line(), "added", "\"id\":\"second\"");
  daemon_.model.remove(forward_);
  EXPECT_PRED3(is, program.line(), "removed", "\"id\":\"tcp:8080:80\"");
  program.interrupt();
  EXPECT_EQ(program.line(), "(end)");
  EXPECT_EQ(program.status(), 0);
}

TEST_F(WatchVerb, OfSomeDomainsOnly) {
  RunningProgram program(watch({"db", "--json"}));
  // The first line is what comes after the start: it must be of db.
  daemon_.model.add(fake_forward("first", uuid2));
  EXPECT_PRED3(is, program.line(), "added", "\"id\":\"first\"");
  daemon_.model.remove(forward_);
  daemon_.model.remove(fake_forward("first", uuid2));
  EXPECT_PRED3(is, program.line(), "removed", "\"id\":\"first\"");
  EXPECT_EQ(run({"watch", "nobody"}).status, 3);
}

TEST_F(WatchVerb, AForwardThatGoesInactiveIsRemovedUnlessAllAreShown) {
  RunningProgram some(watch());
  RunningProgram all(watch({"--all"}));
  EXPECT_PRED3(is, some.line(), "added", "8080");
  EXPECT_PRED3(is, all.line(), "added", "8080");
  forward_.state = ForwardState::inactive;
  forward_.reason = "the domain is off";
  forward_.live = false;
  forward_.config = true;
  daemon_.model.change(forward_);
  EXPECT_PRED3(is, some.line(), "removed", "8080");
  EXPECT_PRED3(is, all.line(), "changed", "inactive");
  forward_ = fake_forward();
  daemon_.model.change(forward_);
  EXPECT_PRED3(is, some.line(), "added", "8080");
}

TEST_F(WatchVerb, ADaemonThatGoesAwayIsStatusSeven) {
  RunningProgram program(watch());
  EXPECT_PRED3(is, program.line(), "added", "8080");
  daemon_.service.reset();
  EXPECT_EQ(program.status(), 7);
  EXPECT_NE(program.errors().find("went away"), std::string::npos);
}

TEST_F(WatchVerb, AReaderThatGoesAwayEndsItQuietly) {
  RunningProgram program(watch());
  EXPECT_PRED3(is, program.line(), "added", "8080");
  program.stop_reading();
  EXPECT_EQ(program.status(), 0);
  EXPECT_EQ(program.errors(), "");
}

TEST_F(WatchVerb, ATerminalReadsLines) {
  std::string line;
  for (const std::string& word : watch({"--color=never"}))
    line += word + ' ';
  RunningProgram program({"/usr/bin/script", "-qefc", "timeout -s INT 1 " + line, "/dev/null"});
  EXPECT_EQ(program.line(),
            "added    web  tcp:8080:80  http://127.0.0.1:8080 -> 80  tcp  active\r");
}

}  // namespace
}  // namespace vf
