// SPDX-License-Identifier: LGPL-2.1-or-later
//
// Each test misbehaves in a child process that has the guard.

#include "hooks/guard.h"

#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <exception>
#include <functional>
#include <new>

#include "fixture.h"

namespace vf {
namespace {

using namespace std::chrono_literals;
using testing::HasSubstr;
using testing::IsEmpty;

struct End {
  int status;  // 128 more than the signal that ended it
  std::string error;
};

End run_guarded(std::chrono::milliseconds budget, bool refusing,
                const std::function<void()>& misbehave) {
  Pipe error;
  const pid_t child = fork();
  if (child == 0) {
    dup2(error.in.get(), STDERR_FILENO);
    install_guard(budget);
    if (refusing) refuse_when_cut_short();
    misbehave();
    _exit(77);
  }
  error.in.reset();
  End end{};
  char buffer[1024];
  ssize_t got = 0;
  while ((got = read(error.out.get(), buffer, sizeof buffer)) > 0)
    end.error.append(buffer, static_cast<std::size_t>(got));
  int status = 0;
  waitpid(child, &status, 0);
  end.status = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
  return end;
}

[[noreturn]] void hang() {
  while (true)
    pause();
}

[[noreturn]] void spin() {
  volatile unsigned long count = 0;
  while (true)
    count = count + 1;
}

volatile bool endlessly = true;

// Leaves the handler no stack but its own.
void recurse(volatile char* above) {
  volatile char page[4096];
  page[0] = above ? above[0] : '\0';
  if (endlessly) recurse(page);
  page[1] = page[0];  // so that this is no tail call
}

struct Misdeed {
  const char* name;
  std::function<void()> commit;
};

class Guard : public testing::TestWithParam<Misdeed> {};

TEST_P(Guard, EndsInSuccess) {
  const End end = run_guarded(100ms, false, GetParam().commit);
  EXPECT_EQ(end.status, 0);
  EXPECT_THAT(end.error, IsEmpty());
}

TEST_P(Guard, EndsInARefusalWhereOneIsDue) {
  const End end = run_guarded(100ms, true, GetParam().commit);
  EXPECT_EQ(end.status, 1);
  EXPECT_THAT(end.error, HasSubstr("virt-forwardd"));
}

INSTANTIATE_TEST_SUITE_P(Misdeeds, Guard,
                         testing::Values(Misdeed{"Hang", hang}, Misdeed{"Spin", spin},
                                         Misdeed{"Terminate", [] { std::terminate(); }},
                                         Misdeed{"NoMemory", [] { std::get_new_handler()(); }},
                                         Misdeed{"Abort", [] { abort(); }},
                                         Misdeed{"Segfault", [] { raise(SIGSEGV); }},
                                         Misdeed{"StackOverflow", [] { recurse(nullptr); }},
                                         Misdeed{"BrokenPipe",
                                                 [] {
                                                   raise(SIGPIPE);
                                                   hang();
                                                 }}),
                         [](const auto& tested) { return std::string(tested.param.name); });

TEST(GuardDescriptors, GapsAreFilledAndOutputGoesNowhere) {
  Pipe output;
  const End end = run_guarded(5s, false, [&] {
    // The guard was installed already: once more, with gaps.
    dup2(output.in.get(), STDOUT_FILENO);
    close(STDIN_FILENO);
    install_guard(5s);
    const bool filled = fcntl(STDIN_FILENO, F_GETFD) >= 0 && fcntl(STDERR_FILENO, F_GETFD) >= 0;
    [[maybe_unused]] const ssize_t done = write(STDOUT_FILENO, "x", 1);
    _exit(filled ? 0 : 3);
  });
  EXPECT_EQ(end.status, 0);
  output.in.reset();
  char byte = 0;
  EXPECT_EQ(read(output.out.get(), &byte, 1), 0);
}

TEST(GuardComplaint, IsOneLineCutToWhatAPipeTakes) {
  const End end = run_guarded(5s, false, [] {
    complain(std::string(100000, 'x'), Deadline::after(1s));
    _exit(0);
  });
  EXPECT_EQ(end.error.size(), 4096u);
  EXPECT_EQ(end.error.back(), '\n');
}

}  // namespace
}  // namespace vf
