// SPDX-License-Identifier: LGPL-2.1-or-later

#include "client/session_daemon.h"

#include <fcntl.h>
#include <glib.h>
#include <signal.h>
#include <spawn.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <chrono>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

#include "base/fd.h"
#include "base/printable.h"
#include "client/address.h"
#include "glib/ref.h"

namespace vf {
namespace {

using std::chrono::steady_clock;

constexpr std::chrono::seconds start_time{10};
constexpr std::chrono::milliseconds look_interval{5};
constexpr const char* idle_option = "--exit-when-idle=60";
constexpr off_t longest_log = 1 << 20;

Unexpected cannot_start(const std::string& why) {
  return Unexpected(ErrorCode::no_daemon, "your session daemon cannot be started: " + why);
}

bool exists(const std::string& path) {
  return access(path.c_str(), F_OK) == 0;
}

std::string last_line(std::string_view text) {
  while (!text.empty() && text.back() == '\n')
    text.remove_suffix(1);
  const auto line = text.rfind('\n');
  return printable(line == std::string_view::npos ? text : text.substr(line + 1));
}

Result<void> start_unit() {
  const gchar* const command[] = {"systemctl", "--user", "start", "virt-forwardd.socket", nullptr};
  gchar* complaints = nullptr;
  gint status = 0;
  GErrorOut error;
  const bool ran =
      g_spawn_sync(nullptr, const_cast<gchar**>(command), nullptr,
                   static_cast<GSpawnFlags>(G_SPAWN_SEARCH_PATH | G_SPAWN_STDOUT_TO_DEV_NULL),
                   nullptr, nullptr, nullptr, &complaints, &status, error.out());
  const std::string said = complaints ? take_string(complaints) : "";
  if (!ran) return cannot_start(error.message());
  if (status != 0)
    return cannot_start("systemctl --user start virt-forwardd.socket: " + last_line(said));
  return {};
}

// Where a daemon without a journal writes. Appended to, since two may begin at once.
struct Log {
  std::string path;
  Fd file;
  off_t begin = 0;

  std::string last() const {
    std::string text(4096, '\0');
    const Fd reading(open(path.c_str(), O_RDONLY | O_CLOEXEC));
    const off_t end = reading ? lseek(reading.get(), 0, SEEK_END) : 0;
    const off_t from = std::max(begin, end - static_cast<off_t>(text.size()));
    const ssize_t length = end > from ? pread(reading.get(), text.data(), text.size(), from) : 0;
    text.resize(length > 0 ? static_cast<std::size_t>(length) : 0);
    return last_line(text);
  }
};

Result<Log> open_log() {
  const std::string directory = std::string(g_get_user_state_dir()) + "/virt-forward";
  Log log{directory + "/virt-forwardd.log", {}};
  if (g_mkdir_with_parents(directory.c_str(), 0700) != 0)
    return cannot_start(system_error(errno, directory).message);
  log.file =
      Fd(open(log.path.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC | O_NOFOLLOW, 0600));
  struct stat status {};
  if (!log.file || fstat(log.file.get(), &status) != 0)
    return cannot_start(system_error(errno, log.path).message);
  if (status.st_size > longest_log && ftruncate(log.file.get(), 0) == 0) status.st_size = 0;
  log.begin = status.st_size;
  return log;
}

// Without what a service manager says to this process alone.
std::vector<char*> daemon_environment() {
  std::vector<char*> result;
  for (char** variable = environ; *variable; ++variable) {
    const std::string_view text = *variable;
    const auto is = [text](std::string_view name) { return text.starts_with(name); };
    if (!is("NOTIFY_SOCKET=") && !is("LISTEN_") && !is("WATCHDOG_") && !is("JOURNAL_STREAM="))
      result.push_back(*variable);
  }
  result.push_back(nullptr);
  return result;
}

Result<pid_t> spawn_daemon(const Log& log) {
  std::string program = VF_DAEMON_PROGRAM;
  std::string connect = "--connect=qemu:///session";
  std::string idle = idle_option;
  std::array<char*, 4> arguments{program.data(), connect.data(), idle.data(), nullptr};
  posix_spawn_file_actions_t files;
  posix_spawn_file_actions_init(&files);
  posix_spawn_file_actions_addopen(&files, STDIN_FILENO, "/dev/null", O_RDWR, 0);
  posix_spawn_file_actions_adddup2(&files, STDIN_FILENO, STDOUT_FILENO);
  posix_spawn_file_actions_adddup2(&files, log.file.get(), STDERR_FILENO);
  posix_spawn_file_actions_addclosefrom_np(&files, STDERR_FILENO + 1);
  posix_spawn_file_actions_addchdir_np(&files, "/");
  posix_spawnattr_t attributes;
  posix_spawnattr_init(&attributes);
  sigset_t signals;
  sigemptyset(&signals);
  posix_spawnattr_setsigmask(&attributes, &signals);
  sigfillset(&signals);
  posix_spawnattr_setsigdefault(&attributes, &signals);
  posix_spawnattr_setflags(&attributes,
                           POSIX_SPAWN_SETSID | POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF);
  pid_t child = -1;
  const int error_number = posix_spawn(&child, program.c_str(), &files, &attributes,
                                       arguments.data(), daemon_environment().data());
  posix_spawnattr_destroy(&attributes);
  posix_spawn_file_actions_destroy(&files);
  if (error_number != 0) return cannot_start(system_error(error_number, program).message);
  return child;
}

Result<void> spawn_and_wait(const std::string& socket) {
  const auto log = open_log();
  if (!log) return Unexpected(log.error());
  const auto child = spawn_daemon(*log);
  if (!child) return Unexpected(child.error());
  const auto late = steady_clock::now() + start_time;
  while (true) {
    // One that another has got ahead of ends; it does so after that one listens.
    const bool ended = waitpid(*child, nullptr, WNOHANG) == *child;
    if (somebody_listens(socket)) return {};
    if (ended) return cannot_start(log->last() + " (" + log->path + ')');
    if (steady_clock::now() > late)
      return cannot_start("it does not listen on " + socket + " (" + log->path + ')');
    std::this_thread::sleep_for(look_interval);
  }
}

}  // namespace

bool session_was_used() {
  return exists(std::string(g_get_user_config_dir()) + "/libvirt/qemu") ||
         exists(user_runtime_directory() + "/libvirt");
}

Result<void> start_session_daemon() {
  const std::string socket = session_socket();
  if (somebody_listens(socket)) return {};
  if (has_user_systemd()) {
    if (auto started = start_unit(); !started) return started;
    if (!somebody_listens(socket))
      return cannot_start("virt-forwardd.socket is started, and " + socket + " refuses");
    return {};
  }
  return spawn_and_wait(socket);
}

}  // namespace vf
