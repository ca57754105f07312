// SPDX-License-Identifier: LGPL-2.1-or-later
//
// The program as it is installed.

#include <elf.h>
#include <gtest/gtest.h>
#include <poll.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <cstdio>
#include <cstring>
#include <fstream>
#include <iterator>
#include <regex>
#include <string>

namespace {

struct Outcome {
  int status = -1;
  std::string out;  // and what it says on standard error
};

Outcome run(const std::string& arguments) {
  Outcome done;
  FILE* const pipe = popen((VF_GUEST_PROGRAM " " + arguments + " 2>&1").c_str(), "re");
  char part[4096];
  for (std::size_t got = 0; (got = fread(part, 1, sizeof part, pipe)) > 0;)
    done.out.append(part, got);
  done.status = WEXITSTATUS(pclose(pipe));
  return done;
}

std::string content(const std::string& path) {
  std::ifstream file(path);
  return {std::istreambuf_iterator<char>(file), {}};
}

std::string written(const std::string& name, const std::string& text) {
  const std::string path = testing::TempDir() + name + std::to_string(getpid());
  std::ofstream(path) << text;
  return path;
}

TEST(GuestProgram, TheManPageNamesEveryOption) {
  const Outcome help = run("--help");
  EXPECT_EQ(help.status, 0);
  const std::string page =
      content(std::string(VF_SOURCE_DIR) + "/contrib/man/virt-forward-guest.8.scd");
  const std::regex option("--[a-z]+");
  for (std::sregex_iterator at(help.out.begin(), help.out.end(), option), end; at != end; ++at)
    EXPECT_NE(page.find("*" + at->str() + "*"), std::string::npos) << at->str();
  EXPECT_EQ(std::distance(std::sregex_iterator(help.out.begin(), help.out.end(), option), {}), 5);
}

TEST(GuestProgram, Version) {
  const Outcome version = run("--version");
  EXPECT_EQ(version.status, 0);
  EXPECT_EQ(version.out, "virt-forward-guest " VF_VERSION "\n");
}

TEST(GuestProgram, WrongUsage) {
  EXPECT_EQ(run("--no-such-option").status, 2);
  EXPECT_EQ(run("argument").status, 2);
  EXPECT_EQ(run("--listen=tcp --config=/nonexistent").status, 1);
}

TEST(GuestProgram, CheckNamesTheLineThatIsWrong) {
  const std::string wrong = written("wrong", "deny = 22\nallow = eighty\n");
  const Outcome check = run("--check --config=" + wrong);
  EXPECT_EQ(check.status, 1);
  EXPECT_NE(check.out.find(wrong + ", line 2: eighty is no port"), std::string::npos) << check.out;
  EXPECT_EQ(run("--config=" + wrong).status, 1) << "it starts with a wrong file";
  const Outcome shipped =
      run(std::string("--check --config=") + VF_SOURCE_DIR + "/contrib/guest/guest.conf");
  EXPECT_EQ(shipped.status, 0) << shipped.out;
}

#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
TEST(GuestProgram, NeedsNoLibrary) {
  const std::string program = content(VF_GUEST_PROGRAM);
  Elf64_Ehdr header{};
  ASSERT_GE(program.size(), sizeof header);
  std::memcpy(&header, program.data(), sizeof header);
  for (unsigned at = 0; at < header.e_phnum; ++at) {
    Elf64_Phdr part{};
    std::memcpy(&part, program.data() + header.e_phoff + at * sizeof part, sizeof part);
    EXPECT_NE(part.p_type, static_cast<Elf64_Word>(PT_INTERP));
  }
}
#endif

// Runs it, and reads what it says line by line.
class RunningGuest : public testing::Test {
 protected:
  void start(const std::string& config) {
    socket_ = testing::TempDir() + "guest-program-" + std::to_string(getpid());
    int log[2];
    ASSERT_EQ(pipe(log), 0);
    pid_ = fork();
    if (pid_ == 0) {
      dup2(log[1], STDERR_FILENO);
      unsetenv("JOURNAL_STREAM");
      execl(VF_GUEST_PROGRAM, "virt-forward-guest", ("--listen=unix:" + socket_).c_str(),
            ("--config=" + config).c_str(), nullptr);
      _exit(127);
    }
    close(log[1]);
    log_ = log[0];
  }
  std::string line() {
    std::string text;
    for (;;) {
      pollfd waits{log_, POLLIN, 0};
      char byte = 0;
      if (poll(&waits, 1, 5000) <= 0 || read(log_, &byte, 1) != 1 || byte == '\n') return text;
      text += byte;
    }
  }
  int end(int signal_number) {
    kill(pid_, signal_number);
    int status = -1;
    waitpid(pid_, &status, 0);
    close(log_);
    return status;
  }
  pid_t pid_ = -1;
  int log_ = -1;
  std::string socket_;
};

TEST_F(RunningGuest, SighupReadsAgainAndAWrongFileChangesNothing) {
  const std::string config = written("config", "deny = 22\n");
  start(config);
  EXPECT_EQ(line(), "virt-forward-guest: listening on unix:" + socket_);
  kill(pid_, SIGHUP);
  EXPECT_EQ(line(), "virt-forward-guest: the configuration was read again");
  std::ofstream(config) << "deny = all\n";
  kill(pid_, SIGHUP);
  EXPECT_NE(line().find("line 1: all is no port"), std::string::npos);
  struct stat status {};
  EXPECT_EQ(stat(socket_.c_str(), &status), 0);
  const int ended = end(SIGTERM);
  EXPECT_TRUE(WIFEXITED(ended));
  EXPECT_EQ(WEXITSTATUS(ended), 0);
  EXPECT_NE(stat(socket_.c_str(), &status), 0);
}

#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
TEST_F(RunningGuest, IsSmallAndIdle) {
  start("/nonexistent");
  line();
  const std::string status = content("/proc/" + std::to_string(pid_) + "/status");
  const auto at = status.find("VmRSS:");
  ASSERT_NE(at, std::string::npos);
  EXPECT_LE(std::atoi(status.c_str() + at + 6), 2048) << "kB";
  EXPECT_TRUE(WIFEXITED(end(SIGTERM)));
}
#endif

}  // namespace
