// SPDX-License-Identifier: LGPL-2.1-or-later
//
// What the redirection can do with which privileges, and where it finds the unified hierarchy.

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <linux/capability.h>
#include <sched.h>
#include <sys/mount.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include <fstream>

#include "glib/source.h"
#include "offload/redirect.h"
#include "offload/redirect_program.h"
#include "place.h"

namespace vf::test {
namespace {

using ::testing::HasSubstr;

// What `test` says is wrong, in a process of its own.
std::string in_child(const std::function<std::string()>& test) {
  int answer[2];
  if (pipe2(answer, O_CLOEXEC) < 0) return "pipe2";
  const pid_t child = fork();
  if (child == 0) {
    const std::string wrong = test();
    _exit(write(answer[1], wrong.data(), wrong.size()) < 0 ? 1 : 0);
  }
  close(answer[1]);
  const Fd from(answer[0]);
  std::string wrong;
  char buffer[512];
  for (ssize_t got = 0; (got = read(from.get(), buffer, sizeof buffer)) > 0;)
    wrong.append(buffer, static_cast<std::size_t>(got));
  int status = 0;
  waitpid(child, &status, 0);
  return status == 0 ? wrong : "ended with " + std::to_string(status) + ": " + wrong;
}

bool keep_only(std::initializer_list<unsigned> capabilities) {
  __user_cap_header_struct header{_LINUX_CAPABILITY_VERSION_3, 0};
  __user_cap_data_struct data[2]{};
  for (const unsigned capability : capabilities) {
    data[capability / 32].effective |= 1u << capability % 32;
    data[capability / 32].permitted |= 1u << capability % 32;
  }
  return syscall(SYS_capset, &header, data) == 0;
}

std::string reached_in_child(RedirectOffload& offload, const Forward& forward,
                             Connection::Reached wanted,
                             const std::function<void(const Fd&)>& prepare = {}) {
  if (auto applied = offload.apply({}, {&forward.entry, 1}); !applied)
    return applied.error().message + "; ";
  const auto reached = connection(forward, prepare).reached;
  return reached == wanted ? std::string() : std::string("reached ") + text(reached) + "; ";
}

TEST(RedirectPrivileges, WithoutPerfmonIpv6IsNotTakenToIpv4) {
  const Place place;
  const Forward v4 = make_forward(place, "a/v4");
  const Forward v6 = make_forward(place, "a/v6", "::1", "fd00:9::2");
  const Forward across = make_forward(place, "a/across", "::1", "10.9.0.2");
  EXPECT_EQ(in_child([&]() -> std::string {
              if (!keep_only({CAP_BPF, CAP_NET_ADMIN})) return "capset";
              RedirectOffload offload;
              if (auto started = offload.start({}); !started) return started.error().message;
              std::string wrong = reached_in_child(offload, v4, Connection::guest) +
                                  reached_in_child(offload, v6, Connection::guest);
              const auto admitted = offload.admits(across.entry);
              if (admitted) return wrong + "admitted";
              if (admitted.error().message.find("CAP_PERFMON") == std::string::npos)
                wrong += admitted.error().message;
              return wrong;
            }),
            "");
}

// How many failures were told of a connection that is refused.
std::string refused_in_child(const Forward& gone, std::initializer_list<unsigned> capabilities,
                             bool wait) {
  return in_child([&]() -> std::string {
    if (!keep_only(capabilities)) return "capset";
    RedirectOffload offload;
    int told = 0;
    if (auto started = offload.start({{}, [&](const std::string&, int) { ++told; }}); !started)
      return started.error().message;
    if (auto applied = offload.apply({}, {&gone.entry, 1}); !applied)
      return applied.error().message;
    if (connect_to(gone.entry.host).error != ECONNREFUSED) return "not redirected";
    if (wait) run_until([&] { return told > 0; });
    while (g_main_context_iteration(nullptr, FALSE)) {
    }
    return std::to_string(told);
  });
}

TEST(RedirectPrivileges, WithoutPerfmonFailuresAreNotTold) {
  const Place place;
  Forward gone = make_forward(place, "a/web");
  gone.guest.reset();
  EXPECT_EQ(refused_in_child(gone, {CAP_BPF, CAP_NET_ADMIN}, false), "0");
  EXPECT_EQ(refused_in_child(gone, {CAP_BPF, CAP_NET_ADMIN, CAP_PERFMON}, true), "1");
}

TEST(RedirectPrivileges, TheServicesAreEnough) {
  const Place place;
  const Forward across = make_forward(place, "a/across", "::1", "10.9.0.2");
  EXPECT_EQ(
      in_child([&]() -> std::string {
        // As ProtectControlGroups= has it.
        std::ifstream file("/proc/self/mountinfo");
        const std::string unified = unified_root({std::istreambuf_iterator<char>(file), {}});
        if (unshare(CLONE_NEWNS) < 0 ||
            mount(nullptr, "/", nullptr, MS_REC | MS_PRIVATE, nullptr) < 0 ||
            mount(nullptr, unified.c_str(), nullptr, MS_REMOUNT | MS_BIND | MS_RDONLY, nullptr) < 0)
          return "read-only control groups";
        if (!keep_only({CAP_BPF, CAP_NET_ADMIN, CAP_PERFMON})) return "capset";
        RedirectOffload offload;
        if (auto started = offload.start({}); !started) return started.error().message;
        std::string wrong = reached_in_child(offload, across, Connection::guest);
        const Connection made = connection(across);
        offload.cut({&across.entry.key, 1});
        if (next_read(made.client) != "error") wrong += "was not cut";
        return wrong;
      }),
      "");
}

TEST(RedirectPrivileges, WithoutThemItSaysWhatIsMissing) {
  for (const auto& kept :
       {std::initializer_list<unsigned>{}, std::initializer_list<unsigned>{CAP_BPF},
        std::initializer_list<unsigned>{CAP_NET_ADMIN}})
    EXPECT_THAT(in_child([&]() -> std::string {
                  if (!keep_only(kept)) return "capset";
                  RedirectOffload offload;
                  const auto started = offload.start({});
                  return started ? "started" : started.error().message;
                }),
                HasSubstr("needs CAP_BPF and CAP_NET_ADMIN"));
}

TEST(RedirectUnifiedRoot, IsFoundAmongTheMounts) {
  const std::string version1 =
      "31 23 0:28 / /sys/fs/cgroup rw - tmpfs tmpfs rw\n"
      "32 31 0:29 / /sys/fs/cgroup/cpu rw - cgroup cgroup rw,cpu\n";
  EXPECT_EQ(unified_root(version1), "");
  EXPECT_EQ(
      unified_root(version1 + "41 31 0:38 / /sys/fs/cgroup/unified rw shared:9 - cgroup2 x rw\n"),
      "/sys/fs/cgroup/unified");
  EXPECT_EQ(
      unified_root("50 1 0:38 /a /part rw - cgroup2 x rw\n41 31 0:38 / /all rw - cgroup2 x rw\n"),
      "/all");
  EXPECT_EQ(unified_root("50 1 0:38 /a /part rw - cgroup2 x rw\n"), "/part");
}

}  // namespace
}  // namespace vf::test
