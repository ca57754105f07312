// SPDX-License-Identifier: LGPL-2.1-or-later

#include "hooks/guard.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/mman.h>
#include <sys/time.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <climits>
#include <csignal>
#include <cstring>
#include <exception>
#include <new>

namespace vf {
namespace {

std::atomic<int> cut_short_status{0};
static_assert(std::atomic<int>::is_always_lock_free);

// Big enough for the handler alone; SIGSTKSZ is no constant any more.
alignas(16) char handler_stack[16 << 10];

// Async-signal-safe, like all it calls.
[[noreturn]] void cut_short() {
  const int status = cut_short_status.load(std::memory_order_relaxed);
  if (status != 0) {
    static constexpr std::string_view message =
        "virt-forward: refused to start the domain: its forwards with required=\"yes\" could not "
        "be confirmed in time. Look after virt-forwardd (is it running?)\n";
    pollfd watched{STDERR_FILENO, POLLOUT, 0};
    if (poll(&watched, 1, 0) == 1 && write(STDERR_FILENO, message.data(), message.size()) < 0) {
    }
  }
  _exit(status);
}

void on_signal(int) {
  cut_short();
}

void fill_descriptor_gaps() {
  for (int fd = STDIN_FILENO; fd <= STDERR_FILENO; ++fd) {
    if (fcntl(fd, F_GETFD) >= 0) continue;
    // The lowest free number is `fd`. Without /dev/null any empty file will do.
    if (open("/dev/null", O_RDWR) < 0 && memfd_create("null", 0) < 0) return;
  }
  const int null = open("/dev/null", O_WRONLY | O_CLOEXEC);
  if (null >= 0 && dup2(null, STDOUT_FILENO) >= 0)
    close(null);
  else
    close(STDOUT_FILENO);
}

void take_signals() {
  stack_t stack{};
  stack.ss_sp = handler_stack;
  stack.ss_size = sizeof handler_stack;
  sigaltstack(&stack, nullptr);

  for (int number = 1; number <= SIGRTMAX; ++number) {
    struct sigaction action {};
    sigfillset(&action.sa_mask);
    action.sa_flags = SA_ONSTACK;
    switch (number) {
      case SIGPIPE:
      case SIGTSTP:
      case SIGTTIN:
      case SIGTTOU:
        action.sa_handler = SIG_IGN;
        break;
      case SIGCHLD:
      case SIGCONT:
      case SIGURG:
      case SIGWINCH:
        action.sa_handler = SIG_DFL;
        break;
      default:
        action.sa_handler = on_signal;
    }
    sigaction(number, &action, nullptr);  // fails for SIGKILL, SIGSTOP and those of the C library
  }
  sigset_t none;
  sigemptyset(&none);
  sigprocmask(SIG_SETMASK, &none, nullptr);
}

}  // namespace

void install_guard(std::chrono::milliseconds budget) {
  take_signals();
  itimerval timer{};
  timer.it_value.tv_sec = budget.count() / 1000;
  timer.it_value.tv_usec = (budget.count() % 1000) * 1000;
  setitimer(ITIMER_REAL, &timer, nullptr);
  std::set_new_handler([] { cut_short(); });
  std::set_terminate([] { cut_short(); });
  fill_descriptor_gaps();
}

void refuse_when_cut_short() {
  cut_short_status.store(1, std::memory_order_relaxed);
}

void complain(std::string_view line, const Deadline& deadline) {
  // A pipe that polls as writable takes this much without blocking.
  char buffer[PIPE_BUF];
  const std::size_t length = std::min(line.size(), sizeof buffer - 1);
  std::memcpy(buffer, line.data(), length);
  buffer[length] = '\n';
  if (!deadline.wait(STDERR_FILENO, POLLOUT)) return;
  while (write(STDERR_FILENO, buffer, length + 1) < 0 && errno == EINTR) {
  }
}

}  // namespace vf
