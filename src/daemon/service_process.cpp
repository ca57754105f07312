// SPDX-License-Identifier: LGPL-2.1-or-later

#include "daemon/service_process.h"

#include <fcntl.h>
#include <grp.h>
#include <linux/close_range.h>
#include <pwd.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstring>
#include <optional>
#include <string_view>
#include <vector>

namespace vf {
namespace {

constexpr int control_fd = 3;
constexpr int backlog = 16;
// Descriptors that the child shuffles lie above those that it shuffles them to.
constexpr int safe_fd = 16;

std::optional<sockaddr_un> unix_address(const std::string& path) {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  if (path.empty() || path.size() >= sizeof address.sun_path) return std::nullopt;
  std::memcpy(address.sun_path, path.data(), path.size());
  return address;
}

const sockaddr* generic(const sockaddr_un& address) {
  return reinterpret_cast<const sockaddr*>(&address);
}

// Bound beside the path and renamed over it, so that whatever stale file is there goes in one step.
Result<Fd> listen_at(const std::string& path) {
  const std::string beside = path + '.' + std::to_string(getpid());
  const auto address = unix_address(beside);
  if (!address) return Unexpected(ErrorCode::invalid_argument, path + ": socket path too long");
  Fd socket(::socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  if (!socket) return Unexpected(system_error(errno, "socket"));
  unlink(beside.c_str());
  // The file takes its mode from the unbound socket.
  if (fchmod(socket.get(), 0600) < 0 ||
      bind(socket.get(), generic(*address), sizeof *address) < 0 ||
      listen(socket.get(), backlog) < 0 || rename(beside.c_str(), path.c_str()) < 0) {
    const int error_number = errno;
    unlink(beside.c_str());
    return Unexpected(system_error(error_number, path));
  }
  return socket;
}

struct Identity {
  uid_t uid;
  gid_t gid;
  std::vector<gid_t> groups;
};

// Nothing when the caller runs as that user already.
Result<std::optional<Identity>> identity_of(const std::string& user) {
  if (user.empty()) return std::optional<Identity>();
  std::vector<char> buffer(16 * 1024);
  passwd entry{};
  passwd* found = nullptr;
  const int error_number = getpwnam_r(user.c_str(), &entry, buffer.data(), buffer.size(), &found);
  if (error_number != 0) return Unexpected(system_error(error_number, "user " + user));
  if (!found) return Unexpected(ErrorCode::failed, "user " + user + " does not exist");
  if (entry.pw_uid == geteuid()) return std::optional<Identity>();
  Identity identity{entry.pw_uid, entry.pw_gid, std::vector<gid_t>(64)};
  int count = static_cast<int>(identity.groups.size());
  if (getgrouplist(entry.pw_name, entry.pw_gid, identity.groups.data(), &count) < 0)
    return Unexpected(ErrorCode::failed, "user " + user + " is in too many groups");
  identity.groups.resize(static_cast<std::size_t>(count));
  return std::optional(std::move(identity));
}

// Nobody else may have put something in the directory's place, or have made it lead elsewhere.
Result<void> give(const ServiceDirectory& directory, const Identity* identity) {
  const std::string& path = directory.path;
  if (mkdir(path.c_str(), 0700) < 0 && errno != EEXIST)
    return Unexpected(system_error(errno, path));
  const Fd fd(open(path.c_str(), O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC));
  struct stat status {};
  if (!fd || fstat(fd.get(), &status) < 0) return Unexpected(system_error(errno, path));
  if (status.st_uid != geteuid() && !(identity && status.st_uid == identity->uid))
    return Unexpected(ErrorCode::not_allowed, path + " belongs to somebody else");
  if (identity && fchown(fd.get(), identity->uid, identity->gid) < 0)
    return Unexpected(system_error(errno, path));
  if (fchmod(fd.get(), directory.mode) < 0) return Unexpected(system_error(errno, path));
  return {};
}

// Without what the service manager says to the daemon alone.
std::vector<char*> child_environment() {
  std::vector<char*> result;
  for (char** variable = environ; *variable; ++variable) {
    const std::string_view text = *variable;
    const bool ours = text.starts_with("NOTIFY_SOCKET=") || text.starts_with("LISTEN_") ||
                      text.starts_with("WATCHDOG_");
    if (!ours) result.push_back(*variable);
  }
  result.push_back(nullptr);
  return result;
}

Fd raised(const Fd& fd) {
  return Fd(fcntl(fd.get(), F_DUPFD_CLOEXEC, safe_fd));
}

// Between fork() and exec() in a process that may have threads: system calls only, and for the
// identity those of the kernel, not libc's, which would look for the other threads.
class Child {
 public:
  Child(const ServiceProcess& process, const Identity* identity, int control, int null, int status)
      : program_(process.program.c_str()),
        identity_(identity),
        arguments_{const_cast<char*>(program_), control_argument_},
        environment_(child_environment()),
        control_(control),
        null_(null),
        status_(status) {
    for (const std::string& argument : process.arguments)
      arguments_.push_back(const_cast<char*>(argument.c_str()));
    arguments_.push_back(nullptr);
  }

  [[noreturn]] void start_in_new_session() {
    setsid();
    const pid_t pid = fork();
    if (pid < 0) fail();
    if (pid > 0) _exit(0);
    execute();
  }

 private:
  [[noreturn]] void execute() {
    sigset_t none;
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, nullptr);
    signal(SIGPIPE, SIG_DFL);
    if (chdir("/") < 0 || dup2(null_, STDIN_FILENO) < 0 || dup2(null_, STDOUT_FILENO) < 0 ||
        dup2(control_, control_fd) < 0)
      fail();
    syscall(SYS_close_range, control_fd + 1u, ~0u, CLOSE_RANGE_CLOEXEC);
    prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0);
    if (identity_ &&
        (syscall(SYS_setgroups, identity_->groups.size(), identity_->groups.data()) < 0 ||
         syscall(SYS_setresgid, identity_->gid, identity_->gid, identity_->gid) < 0 ||
         syscall(SYS_setresuid, identity_->uid, identity_->uid, identity_->uid) < 0))
      fail();
    execve(program_, arguments_.data(), environment_.data());
    fail();
  }

  [[noreturn]] void fail() {
    const int error_number = errno;
    [[maybe_unused]] const ssize_t written = write(status_, &error_number, sizeof error_number);
    _exit(127);
  }

  const char* program_;
  const Identity* identity_;
  std::vector<char*> arguments_;
  std::vector<char*> environment_;
  int control_;
  int null_;
  int status_;
  char control_argument_[16] = "--control-fd=3";
};

}  // namespace

Result<void> start_service(const ServiceProcess& process) {
  const auto identity = identity_of(process.user);
  if (!identity) return Unexpected(identity.error());
  for (const ServiceDirectory& directory : process.directories)
    if (auto made = give(directory, *identity ? &**identity : nullptr); !made)
      return Unexpected(made.error());
  auto listening = listen_at(process.socket_path);
  if (!listening) return Unexpected(listening.error());
  const Fd null(open("/dev/null", O_RDWR | O_CLOEXEC));
  int ends[2];
  if (!null || pipe2(ends, O_CLOEXEC) < 0) return Unexpected(system_error(errno, process.program));
  const Fd status(ends[0]);
  Fd child_status(ends[1]);
  Fd high_control = raised(*listening);
  Fd high_null = raised(null);
  Fd high_status = raised(child_status);
  if (!high_control || !high_null || !high_status)
    return Unexpected(system_error(errno, process.program));

  Child child(process, *identity ? &**identity : nullptr, high_control.get(), high_null.get(),
              high_status.get());
  const pid_t pid = fork();
  if (pid < 0) return Unexpected(system_error(errno, "fork"));
  if (pid == 0) child.start_in_new_session();
  child_status.reset();
  high_status.reset();
  // The first child ends at once; the program itself is init's from then on.
  while (waitpid(pid, nullptr, 0) < 0 && errno == EINTR) {
  }
  int error_number = 0;
  ssize_t length = 0;
  while ((length = read(status.get(), &error_number, sizeof error_number)) < 0 && errno == EINTR) {
  }
  if (length == sizeof error_number)
    return Unexpected(system_error(error_number, "cannot start " + process.program));
  return {};
}

Fd connect_to_service(const std::string& socket_path, int& error_number) {
  const auto address = unix_address(socket_path);
  Fd socket(::socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  if (!address || !socket) {
    error_number = address ? errno : ENAMETOOLONG;
    return Fd();
  }
  if (connect(socket.get(), generic(*address), sizeof *address) < 0) {
    error_number = errno;
    return Fd();
  }
  error_number = 0;
  return socket;
}

Result<Fd> connect_or_start(const ServiceProcess& process) {
  int error_number = 0;
  Fd socket = connect_to_service(process.socket_path, error_number);
  const bool absent = error_number == ENOENT || error_number == ECONNREFUSED;
  if (!socket && absent && !process.program.empty()) {
    if (auto started = start_service(process); !started) return Unexpected(started.error());
    socket = connect_to_service(process.socket_path, error_number);
  }
  if (!socket) return Unexpected(system_error(error_number, process.socket_path));
  return socket;
}

}  // namespace vf
