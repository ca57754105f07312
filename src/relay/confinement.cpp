// SPDX-License-Identifier: LGPL-2.1-or-later

#include "relay/confinement.h"

#include <fcntl.h>
#include <linux/capability.h>
#include <linux/landlock.h>
#include <linux/sockios.h>
#include <seccomp.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <clocale>
#include <cstdint>
#include <initializer_list>
#include <memory>

#include "base/fd.h"

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define VF_SANITIZED 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
#define VF_SANITIZED 1
#endif
#endif

namespace vf {
namespace {

#if defined(VF_SANITIZED)
// At its end the leak check starts a thread that attaches to all others and reads /proc; a report
// reads the program for the names in it. Reading files and attaching stay allowed.
constexpr bool sanitized = true;
#else
constexpr bool sanitized = false;
#endif
#if defined(VF_COVERAGE)
// Counters are written to files at the end.
constexpr bool writes_coverage = true;
#else
constexpr bool writes_coverage = false;
#endif

// --- capabilities

void drop_capabilities() {
  for (unsigned long capability = 0; prctl(PR_CAPBSET_READ, capability) >= 0; ++capability)
    prctl(PR_CAPBSET_DROP, capability);  // takes CAP_SETPCAP: others keep a bound without use
  prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0);
  __user_cap_header_struct header{_LINUX_CAPABILITY_VERSION_3, 0};
  std::array<__user_cap_data_struct, _LINUX_CAPABILITY_U32S_3> none{};
  syscall(SYS_capset, &header, none.data());
}

bool has_capabilities() {
  __user_cap_header_struct header{_LINUX_CAPABILITY_VERSION_3, 0};
  std::array<__user_cap_data_struct, _LINUX_CAPABILITY_U32S_3> sets{};
  if (syscall(SYS_capget, &header, sets.data()) < 0) return true;
  for (const auto& set : sets)
    if ((set.effective | set.permitted | set.inheritable) != 0) return true;
  return false;
}

// --- Landlock, by its system calls: there is no library for it. The header may be older than the
// kernel, so what came after its first version is spelled out.

struct LandlockRuleset {
  std::uint64_t files;    // accesses that are denied where no rule allows them
  std::uint64_t network;  // version 4
  std::uint64_t scopes;   // version 6
};
constexpr std::uint64_t landlock_bind_tcp = 1;
constexpr std::uint64_t landlock_scope_signal = 2;

std::uint64_t file_accesses(int abi) {
  const int count = abi >= 5 ? 16 : abi >= 3 ? 15 : abi >= 2 ? 14 : 13;
  std::uint64_t all = (std::uint64_t{1} << count) - 1;
  if (sanitized) all &= ~std::uint64_t{LANDLOCK_ACCESS_FS_READ_FILE | LANDLOCK_ACCESS_FS_READ_DIR};
  return all;
}

void allow_removal(int ruleset, const std::string& path) {
  const std::size_t slash = path.rfind('/');
  const std::string parent = slash == std::string::npos ? "." : path.substr(0, slash + 1);
  const Fd directory(open(parent.c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC));
  landlock_path_beneath_attr rule{};
  rule.allowed_access = LANDLOCK_ACCESS_FS_REMOVE_FILE;
  rule.parent_fd = directory.get();
  syscall(SYS_landlock_add_rule, ruleset, LANDLOCK_RULE_PATH_BENEATH, &rule, 0);
}

// The version in force; 0 for none.
int give_up_files(const std::vector<std::string>& removes) {
  if (writes_coverage) return 0;
  const long version =
      syscall(SYS_landlock_create_ruleset, nullptr, 0, LANDLOCK_CREATE_RULESET_VERSION);
  if (version < 1) return 0;
  const int abi = static_cast<int>(version);
  const LandlockRuleset attributes{file_accesses(abi), landlock_bind_tcp, landlock_scope_signal};
  const std::size_t known = abi >= 6 ? 24 : abi >= 4 ? 16 : 8;
  const Fd ruleset(static_cast<int>(syscall(SYS_landlock_create_ruleset, &attributes, known, 0)));
  if (!ruleset) return 0;
  for (const std::string& path : removes)
    allow_removal(ruleset.get(), path);
  return syscall(SYS_landlock_restrict_self, ruleset.get(), 0) == 0 ? abi : 0;
}

// --- seccomp

// Rules of a filter in the making; the first error is kept.
class Filter {
 public:
  Filter() : filter_(seccomp_init(SCMP_ACT_KILL_PROCESS), seccomp_release) {
    if (!filter_) error_ = -ENOMEM;
    set(SCMP_FLTATR_ACT_BADARCH, SCMP_ACT_KILL_PROCESS);
    set(SCMP_FLTATR_CTL_TSYNC, 1);
    set(SCMP_FLTATR_CTL_OPTIMIZE, 2);  // a binary tree: the byte path pays for the filter
    set(SCMP_FLTATR_API_SYSRAWRC, 1);
  }

  void allow(std::initializer_list<int> calls) {
    for (const int call : calls)
      add(SCMP_ACT_ALLOW, call, {});
  }
  void allow(int call, std::initializer_list<scmp_arg_cmp> where) {
    add(SCMP_ACT_ALLOW, call, where);
  }
  // Where the argument is one of the values.
  void allow(int call, unsigned argument, std::initializer_list<unsigned long> values) {
    for (const unsigned long value : values)
      allow(call, {scmp_arg_cmp{argument, SCMP_CMP_MASKED_EQ, low_half, value & low_half}});
  }
  void deny(int error_number, int call, std::initializer_list<scmp_arg_cmp> where) {
    add(SCMP_ACT_ERRNO(static_cast<std::uint32_t>(error_number)), call, where);
  }

  // errno of loading it, or 0.
  int load() { return error_ == 0 ? -seccomp_load(filter_.get()) : -error_; }

 private:
  // Arguments that the kernel takes as int: what the upper half holds is no difference.
  static constexpr unsigned long low_half = 0xffff'ffff;

  void set(scmp_filter_attr attribute, std::uint32_t value) {
    if (error_ == 0) error_ = seccomp_attr_set(filter_.get(), attribute, value);
  }
  void add(std::uint32_t action, int call, std::initializer_list<scmp_arg_cmp> where) {
    if (error_ == 0 && call != __NR_SCMP_ERROR)
      error_ = seccomp_rule_add_array(filter_.get(), action, call,
                                      static_cast<unsigned>(where.size()), where.begin());
  }

  std::unique_ptr<void, decltype(&seccomp_release)> filter_;
  int error_ = 0;
};

scmp_arg_cmp equals(unsigned argument, std::uint64_t value) {
  return {argument, SCMP_CMP_EQ, value, 0};
}
scmp_arg_cmp without(unsigned argument, std::uint64_t bits) {
  return {argument, SCMP_CMP_MASKED_EQ, bits, 0};
}

// For sockets that are there, and new ones that connect.
void allow_sockets(Filter& filter) {
  filter.allow(SCMP_SYS(socket), 0, {AF_INET, AF_INET6, AF_UNIX, AF_VSOCK});
  filter.allow({SCMP_SYS(accept4), SCMP_SYS(connect), SCMP_SYS(getsockname), SCMP_SYS(getpeername),
                SCMP_SYS(getsockopt), SCMP_SYS(setsockopt), SCMP_SYS(shutdown), SCMP_SYS(close)});
  filter.allow({SCMP_SYS(read), SCMP_SYS(readv), SCMP_SYS(recvfrom), SCMP_SYS(recvmsg),
                SCMP_SYS(recvmmsg), SCMP_SYS(write), SCMP_SYS(writev), SCMP_SYS(sendto),
                SCMP_SYS(sendmsg), SCMP_SYS(sendmmsg), SCMP_SYS(splice), SCMP_SYS(pipe2)});
  filter.allow(SCMP_SYS(fcntl), 1,
               {F_GETFD, F_SETFD, F_GETFL, F_SETFL, F_DUPFD_CLOEXEC, F_GETPIPE_SZ, F_SETPIPE_SZ});
  filter.allow(SCMP_SYS(ioctl), 1, {FIONREAD, FIONBIO, SIOCOUTQ, SIOCOUTQNSD});
}

// Waiting, time, threads, memory and the end, as GLib and the C library do it.
void allow_running(Filter& filter) {
  filter.allow({SCMP_SYS(epoll_create1), SCMP_SYS(epoll_ctl), SCMP_SYS(epoll_wait),
                SCMP_SYS(epoll_pwait), SCMP_SYS(epoll_pwait2), SCMP_SYS(poll), SCMP_SYS(ppoll),
                SCMP_SYS(eventfd2), SCMP_SYS(timerfd_create), SCMP_SYS(timerfd_settime)});
  filter.allow({SCMP_SYS(clock_gettime), SCMP_SYS(clock_getres), SCMP_SYS(clock_nanosleep),
                SCMP_SYS(gettimeofday), SCMP_SYS(nanosleep), SCMP_SYS(time)});
  filter.allow({SCMP_SYS(futex), SCMP_SYS(sched_yield), SCMP_SYS(sched_getaffinity),
                SCMP_SYS(getcpu), SCMP_SYS(getpid), SCMP_SYS(gettid), SCMP_SYS(getrandom)});
  filter.allow({SCMP_SYS(brk), SCMP_SYS(munmap), SCMP_SYS(mremap), SCMP_SYS(madvise)});
  filter.allow(SCMP_SYS(mmap), {without(2, PROT_EXEC)});
  filter.allow(SCMP_SYS(mprotect), {without(2, PROT_EXEC)});
  filter.allow({SCMP_SYS(rt_sigaction), SCMP_SYS(rt_sigprocmask), SCMP_SYS(rt_sigreturn),
                SCMP_SYS(sigaltstack), SCMP_SYS(restart_syscall), SCMP_SYS(exit),
                SCMP_SYS(exit_group)});
  // of threads that are still starting
  filter.allow({SCMP_SYS(set_robust_list), SCMP_SYS(rseq)});
  filter.allow(SCMP_SYS(prctl), 0, {PR_SET_NAME});
  // abort()
  filter.allow(SCMP_SYS(tgkill), {equals(0, static_cast<std::uint64_t>(getpid()))});
  // When malloc first makes a thread's heap smaller it asks /proc/sys/vm/overcommit_memory, in
  // just these words, and takes a no.
  if (!sanitized && !writes_coverage)
    filter.deny(EACCES, SCMP_SYS(openat), {equals(2, O_RDONLY | O_CLOEXEC)});
}

void allow_sanitizers(Filter& filter) {
  filter.allow(SCMP_SYS(openat), {without(2, O_ACCMODE | O_CREAT)});
  filter.allow(SCMP_SYS(open), {without(1, O_ACCMODE | O_CREAT)});
  filter.allow({SCMP_SYS(getdents), SCMP_SYS(getdents64), SCMP_SYS(newfstatat), SCMP_SYS(fstat),
                SCMP_SYS(stat), SCMP_SYS(lseek), SCMP_SYS(readlink), SCMP_SYS(prlimit64),
                SCMP_SYS(getppid), SCMP_SYS(prctl), SCMP_SYS(wait4), SCMP_SYS(dup2),
                SCMP_SYS(pipe)});
  filter.allow(SCMP_SYS(clone), {scmp_arg_cmp{0, SCMP_CMP_MASKED_EQ, CLONE_VM | CLONE_FILES,
                                              CLONE_VM | CLONE_FILES}});
  filter.allow(SCMP_SYS(ioctl), 1, {TCGETS});  // whether a report may have colours
  filter.allow(SCMP_SYS(ptrace), 0,
               {PTRACE_ATTACH, PTRACE_DETACH, PTRACE_CONT, PTRACE_GETREGS, PTRACE_GETREGSET});
}

void allow_coverage(Filter& filter) {
  filter.allow({SCMP_SYS(openat), SCMP_SYS(open), SCMP_SYS(mkdir), SCMP_SYS(fstat),
                SCMP_SYS(newfstatat), SCMP_SYS(lseek), SCMP_SYS(ftruncate), SCMP_SYS(access)});
  filter.allow(SCMP_SYS(fcntl), 1, {F_SETLKW});
}

}  // namespace

Confinement::Confinement(const std::vector<std::string>& removes) : removes_(!removes.empty()) {
  std::setlocale(LC_ALL, "C");  // strerror() would open a catalogue
  prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
  if (!sanitized) prctl(PR_SET_DUMPABLE, 0, 0, 0, 0);  // or the leak check could not attach
  drop_capabilities();
  capabilities_ = has_capabilities();
  landlock_abi_ = give_up_files(removes);
}

Result<void> Confinement::complete() {
  Filter filter;
  allow_sockets(filter);
  allow_running(filter);
  if (removes_)  // it looks whether the file is still its own, then removes it
    filter.allow({SCMP_SYS(newfstatat), SCMP_SYS(stat), SCMP_SYS(lstat), SCMP_SYS(unlink),
                  SCMP_SYS(unlinkat)});
  if (sanitized) allow_sanitizers(filter);
  if (writes_coverage) allow_coverage(filter);
  const int error_number = filter.load();
  seccomp_ = error_number == 0;
  if (!seccomp_) return Unexpected(system_error(error_number, "seccomp"));
  return {};
}

std::string Confinement::summary() const {
  return std::string(" seccomp=") + (seccomp_ ? "yes" : "no") + " landlock=" +
         (landlock_abi_ > 0 ? "\"abi " + std::to_string(landlock_abi_) + '"' : "no") +
         " capabilities=" + (capabilities_ ? "kept" : "none");
}

}  // namespace vf
