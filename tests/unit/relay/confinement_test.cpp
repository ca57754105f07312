// SPDX-License-Identifier: LGPL-2.1-or-later
//
// Every test confines a child: a filter cannot be taken off again.

#include "relay/confinement.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <linux/io_uring.h>
#include <linux/keyctl.h>
#include <linux/netlink.h>
#include <malloc.h>
#include <signal.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <clocale>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

#include "base/fd.h"
#include "loopback.h"

namespace vf {
namespace {

using namespace test;

// How a child that confines itself and then calls `then` ends: "exit 0" or "SIGSYS".
std::string confined_child(const std::function<int()>& then,
                           const std::vector<std::string>& removes = {}) {
  const pid_t pid = fork();
  if (pid == 0) {
    Confinement confinement(removes);
    if (!confinement.complete()) _exit(99);
    _exit(then());
  }
  int status = 0;
  waitpid(pid, &status, 0);
  if (WIFEXITED(status)) return "exit " + std::to_string(WEXITSTATUS(status));
  return std::string("SIG") + sigabbrev_np(WTERMSIG(status));
}

struct Call {
  const char* name;
  long (*make)();
};

void PrintTo(const Call& call, std::ostream* out) {
  *out << call.name;
}

class ForbiddenTest : public testing::TestWithParam<Call> {};

TEST_P(ForbiddenTest, Kills) {
  EXPECT_EQ(confined_child([] {
              GetParam().make();
              return 0;
            }),
            "SIGSYS");
}

char* const no_arguments[] = {nullptr};

INSTANTIATE_TEST_SUITE_P(
    Calls, ForbiddenTest,
    testing::Values(
        Call{"openat_write", [] { return syscall(SYS_openat, AT_FDCWD, "/tmp/x", O_WRONLY); }},
        Call{"openat_create",
             [] { return syscall(SYS_openat, AT_FDCWD, "/tmp/x", O_CREAT | O_RDWR, 0600); }},
#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)  // they read files at the end
        Call{"openat_read", [] { return syscall(SYS_openat, AT_FDCWD, "/etc/passwd", O_RDONLY); }},
        Call{"open", [] { return syscall(SYS_open, "/etc/passwd", O_RDONLY | O_CLOEXEC); }},
        Call{"stat", [] { return syscall(SYS_newfstatat, AT_FDCWD, "/etc/passwd", nullptr, 0); }},
        Call{"prctl", [] { return syscall(SYS_prctl, PR_SET_DUMPABLE, 1); }},
#endif
        Call{"execve", [] { return syscall(SYS_execve, "/bin/true", no_arguments, no_arguments); }},
        Call{"execveat",
             [] { return syscall(SYS_execveat, -1, "/bin/true", no_arguments, no_arguments, 0); }},
        Call{"fork", [] { return syscall(SYS_clone, SIGCHLD, 0, 0, 0, 0); }},
        Call{"vfork", [] { return syscall(SYS_vfork); }},
        Call{"clone3", [] { return syscall(SYS_clone3, nullptr, 0); }},
        Call{"ptrace", [] { return syscall(SYS_ptrace, PTRACE_TRACEME, 0, 0, 0); }},
        Call{"process_vm_readv", [] { return syscall(SYS_process_vm_readv, 1, 0, 0, 0, 0, 0); }},
        Call{"kill", [] { return syscall(SYS_kill, getppid(), 0); }},
        Call{"tgkill", [] { return syscall(SYS_tgkill, 1, 1, 0); }},
        Call{"socket_netlink", [] { return syscall(SYS_socket, AF_NETLINK, SOCK_RAW, 0); }},
        Call{"socket_packet", [] { return syscall(SYS_socket, AF_PACKET, SOCK_RAW, 0); }},
        Call{"bind", [] { return syscall(SYS_bind, 0, nullptr, 0); }},
        Call{"listen", [] { return syscall(SYS_listen, 0, 1); }},
        Call{"unlinkat", [] { return syscall(SYS_unlinkat, AT_FDCWD, "/tmp/x", 0); }},
        Call{"rename", [] { return syscall(SYS_rename, "/tmp/x", "/tmp/y"); }},
        Call{"chmod", [] { return syscall(SYS_chmod, "/tmp/x", 0777); }},
        Call{"mount", [] { return syscall(SYS_mount, "", "/tmp", "tmpfs", 0, nullptr); }},
        Call{"memory_to_run",
             [] {
               return syscall(SYS_mmap, nullptr, 4096, PROT_READ | PROT_EXEC,
                              MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
             }},
        Call{"mprotect_to_run",
             [] { return syscall(SYS_mprotect, nullptr, 0, PROT_READ | PROT_EXEC); }},
        Call{"memfd_create", [] { return syscall(SYS_memfd_create, "x", 0); }},
        Call{"io_uring_setup", [] { return syscall(SYS_io_uring_setup, 1, nullptr); }},
        Call{"bpf", [] { return syscall(SYS_bpf, 0, nullptr, 0); }},
        Call{"keyctl", [] { return syscall(SYS_keyctl, KEYCTL_GET_KEYRING_ID, 0, 0); }},
        Call{"setuid", [] { return syscall(SYS_setuid, 0); }},
        Call{"unshare", [] { return syscall(SYS_unshare, 0); }},
        Call{"terminal_input", [] { return syscall(SYS_ioctl, 0, TIOCSTI, "x"); }},
        Call{"fcntl_lock", [] { return syscall(SYS_fcntl, 0, F_SETLK, nullptr); }},
        Call{"seccomp", [] { return syscall(SYS_seccomp, 0, 0, nullptr); }}),
    [](const auto& call) { return call.param.name; });

TEST(Confinement, ServingWorks) {
  const Fd listening = listening_socket();
  const Endpoint address = local_endpoint(listening.get());
  EXPECT_EQ(confined_child([&]() -> int {
              for (const int family : {AF_INET, AF_INET6, AF_UNIX})
                if (!Fd(socket(family, SOCK_STREAM | SOCK_CLOEXEC, 0)) && errno != EAFNOSUPPORT)
                  return 1;
              const Fd epoll(epoll_create1(EPOLL_CLOEXEC));
              const Fd wakeup(eventfd(0, EFD_CLOEXEC));
              const Fd client = connected_socket(address);
              const Fd accepted = accepted_socket(listening);
              epoll_event event{};
              if (!epoll || !wakeup || !client || !accepted ||
                  epoll_ctl(epoll.get(), EPOLL_CTL_ADD, wakeup.get(), &event) < 0 ||
                  epoll_wait(epoll.get(), &event, 1, 0) != 0)
                return 2;
              int ends[2];
              if (pipe2(ends, O_NONBLOCK | O_CLOEXEC) < 0) return 3;
              fcntl(ends[0], F_SETPIPE_SZ, 256 * 1024);
              int unread = 0;
              if (!send_all(client, "abc") ||
                  splice(accepted.get(), nullptr, ends[1], nullptr, 3, SPLICE_F_MOVE) != 3 ||
                  splice(ends[0], nullptr, accepted.get(), nullptr, 3, SPLICE_F_MOVE) != 3 ||
                  receive(client, 3) != "abc" || ioctl(client.get(), FIONREAD, &unread) < 0)
                return 4;
              const Fd duplicate(fcntl(client.get(), F_DUPFD_CLOEXEC, 0));
              if (!duplicate || shutdown(client.get(), SHUT_WR) < 0) return 5;
              std::vector<std::string> memory;
              for (int i = 0; i < 100; ++i)
                memory.emplace_back(1u << (i % 22), 'x');
              return ending(accepted);
            }),
            "exit 0");
}

TEST(Confinement, AbortStillAborts) {
  EXPECT_EQ(confined_child([]() -> int { std::abort(); }), "SIGABRT");
}

TEST(Confinement, ErrorsKeepTheirWords) {
  EXPECT_EQ(confined_child([]() -> int { return strerror(ECONNREFUSED)[0] != 'C'; }), "exit 0");
  setenv("LC_ALL", "C.UTF-8", 1);
  setenv("LANGUAGE", "de", 1);
  std::setlocale(LC_ALL, "");
  EXPECT_EQ(confined_child([]() -> int { return strerror(ETIMEDOUT)[0] != 'C'; }), "exit 0");
  std::setlocale(LC_ALL, "C");
  unsetenv("LC_ALL");
  unsetenv("LANGUAGE");
}

// Threads that were there are confined too; a thread's malloc looks at a file when it first gives
// memory back.
TEST(Confinement, HoldsForEveryThread) {
  const auto with_thread = [](const std::function<void()>& work) {
    const pid_t pid = fork();
    if (pid == 0) {
      Confinement confinement;
      std::atomic<bool> confined = false;
      std::thread thread([&] {
        free(malloc(1));  // its heap is made
        while (!confined)
          std::this_thread::yield();
        work();
        _exit(0);
      });
      if (!confinement.complete()) _exit(99);
      confined = true;
      thread.join();
    }
    int status = 0;
    waitpid(pid, &status, 0);
    return status;
  };
  EXPECT_EQ(with_thread([] {
              std::vector<std::string> memory;
              for (int i = 0; i < 400; ++i)
                memory.emplace_back(100'000, 'x');
              while (!memory.empty())
                memory.pop_back();
            }),
            0);
  const int status = with_thread([] { syscall(SYS_unshare, 0); });
  EXPECT_TRUE(WIFSIGNALED(status) && WTERMSIG(status) == SIGSYS) << status;
}

TEST(Confinement, ItsOwnSocketFilesMayBeRemovedAndNothingElse) {
  char name[] = "/tmp/confinement-test.XXXXXX";
  const std::string directory = mkdtemp(name);
  const std::string own = directory + "/own.sock";
  const std::string elsewhere = "/tmp/confinement-test-elsewhere." + std::to_string(getpid());
  for (const std::string& path : {own, elsewhere})
    Fd(open(path.c_str(), O_CREAT | O_WRONLY | O_CLOEXEC, 0600));
  EXPECT_EQ(confined_child([&] { return unlink(own.c_str()) == 0 ? 0 : errno; }, {own}), "exit 0");
  EXPECT_EQ(confined_child([&] { return unlink(elsewhere.c_str()) == 0 ? 0 : errno; }, {own}),
            "exit " + std::to_string(EACCES))
      << "needs a kernel with Landlock";
  unlink(elsewhere.c_str());
  rmdir(directory.c_str());
}

TEST(Confinement, SaysWhatIsInForce) {
  const pid_t pid = fork();
  if (pid == 0) {
    Confinement confinement;
    if (!confinement.complete()) _exit(99);
    const std::string summary = confinement.summary();
    _exit(summary.starts_with(" seccomp=yes landlock=") && summary.ends_with(" capabilities=none")
              ? 0
              : 1);
  }
  int status = 0;
  waitpid(pid, &status, 0);
  EXPECT_EQ(status, 0);
}

}  // namespace
}  // namespace vf
