// SPDX-License-Identifier: LGPL-2.1-or-later

#include "doctor/reading.h"

#include <dirent.h>
#include <fcntl.h>
#include <gio/gio.h>
#include <pwd.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <climits>
#include <memory>

#include "base/fd.h"
#include "base/printable.h"
#include "glib/ref.h"
#include "glib/source.h"

namespace vf {
namespace {

constexpr std::chrono::seconds program_time{5};

Error file_error(int number, const std::string& path) {
  Error error = system_error(number, path);
  if (number == EACCES || number == EPERM) error.code = ErrorCode::not_allowed;
  return error;
}

Result<std::string> read_from(const std::string& path, std::size_t most, bool end) {
  const Fd fd(open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK));
  if (!fd) return Unexpected(file_error(errno, path));
  if (end) {
    const off_t size = lseek(fd.get(), 0, SEEK_END);
    lseek(fd.get(), std::max<off_t>(0, size - static_cast<off_t>(most)), SEEK_SET);
  }
  std::string text;
  char buffer[16384];
  while (text.size() < most) {
    const ssize_t got = read(fd.get(), buffer, std::min(sizeof buffer, most - text.size()));
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) return Unexpected(file_error(errno, path));
    if (got == 0) break;
    text.append(buffer, static_cast<std::size_t>(got));
  }
  return text;
}

std::optional<std::int64_t> boot_time() {
  const auto text = read_text("/proc/stat", 4 << 20);
  const std::size_t at = text ? text->find("\nbtime ") : std::string::npos;
  if (at == std::string::npos) return std::nullopt;
  std::int64_t seconds = 0;
  std::from_chars(text->data() + at + 7, text->data() + text->size(), seconds);
  return seconds;
}

// Of the text of /proc/PID/stat, in clock ticks since the boot: the 22nd field.
std::optional<std::int64_t> start_ticks(const std::string& stat) {
  std::size_t at = stat.rfind(')');
  for (int field = 2; field < 22 && at != std::string::npos; ++field)
    at = stat.find(' ', at + 1);
  if (at == std::string::npos) return std::nullopt;
  std::int64_t ticks = 0;
  std::from_chars(stat.data() + at + 1, stat.data() + stat.size(), ticks);
  return ticks;
}

}  // namespace

Result<std::string> read_text(const std::string& path, std::size_t most) {
  return read_from(path, most, false);
}

Result<std::string> read_end(const std::string& path, std::size_t most) {
  return read_from(path, most, true);
}

std::vector<RunningProcess> processes_named(const std::vector<std::string>& names) {
  std::vector<RunningProcess> found;
  const auto booted = boot_time();
  struct Close {
    void operator()(DIR* directory) const { closedir(directory); }
  };
  const std::unique_ptr<DIR, Close> directory(opendir("/proc"));
  if (!directory || !booted) return found;
  while (const dirent* const entry = readdir(directory.get())) {
    std::uint32_t pid = 0;
    const char* const end = entry->d_name + std::char_traits<char>::length(entry->d_name);
    if (std::from_chars(entry->d_name, end, pid).ptr != end) continue;
    const std::string place = std::string("/proc/") + entry->d_name;
    auto name = read_text(place + "/comm", 64);
    if (!name) continue;
    if (name->ends_with('\n')) name->pop_back();
    const bool wanted = std::ranges::any_of(
        names, [&](const std::string& one) { return one.substr(0, 15) == *name; });
    const auto status = wanted ? read_text(place + "/stat", 4096) : Result<std::string>("");
    const auto ticks = wanted && status ? start_ticks(*status) : std::nullopt;
    struct stat owner {};
    if (ticks && stat(place.c_str(), &owner) == 0)
      found.push_back({pid, *name, *booted + *ticks / sysconf(_SC_CLK_TCK), owner.st_uid});
  }
  std::ranges::sort(found, {}, &RunningProcess::pid);
  return found;
}

Result<RunningProgram> program_of(std::uint32_t pid) {
  const std::string link = "/proc/" + std::to_string(pid) + "/exe";
  char path[PATH_MAX];
  const ssize_t length = readlink(link.c_str(), path, sizeof path);
  if (length < 0) return Unexpected(file_error(errno, link));
  RunningProgram program{std::string(path, static_cast<std::size_t>(length)), false};
  constexpr std::string_view gone = " (deleted)";
  if (program.path.ends_with(gone)) {
    program.replaced = true;
    program.path.erase(program.path.size() - gone.size());
  }
  return program;
}

std::vector<std::string> names_in(const std::string& folder, std::size_t most) {
  std::vector<std::string> names;
  struct Close {
    void operator()(DIR* directory) const { closedir(directory); }
  };
  const std::unique_ptr<DIR, Close> directory(opendir(folder.c_str()));
  while (const dirent* const entry = directory ? readdir(directory.get()) : nullptr)
    if (entry->d_name[0] != '.' && names.size() < most) names.emplace_back(entry->d_name);
  std::ranges::sort(names);
  return names;
}

Result<std::string> output_of(const std::vector<std::string>& command) {
  std::vector<const gchar*> arguments;
  for (const std::string& word : command)
    arguments.push_back(word.c_str());
  arguments.push_back(nullptr);
  GErrorOut error;
  const auto process =
      adopt(g_subprocess_newv(arguments.data(),
                              static_cast<GSubprocessFlags>(G_SUBPROCESS_FLAGS_STDOUT_PIPE |
                                                            G_SUBPROCESS_FLAGS_STDERR_PIPE),
                              error.out()));
  if (!process) return Unexpected(ErrorCode::failed, error.message());
  struct Outcome {
    bool over = false;
    GBytes* out = nullptr;
    GBytes* err = nullptr;
  } outcome;
  g_subprocess_communicate_async(
      process.get(), nullptr, nullptr,
      [](GObject* source, GAsyncResult* result, gpointer data) {
        auto* const at = static_cast<Outcome*>(data);
        g_subprocess_communicate_finish(G_SUBPROCESS(source), result, &at->out, &at->err, nullptr);
        at->over = true;
      },
      &outcome);
  bool late = false;
  const Source timer = after(program_time, [&] {
    late = true;
    g_subprocess_force_exit(process.get());
  });
  while (!outcome.over)
    g_main_context_iteration(nullptr, TRUE);
  const auto taken = [](GBytes* bytes) {
    if (!bytes) return std::string();
    gsize size = 0;
    const void* const data = g_bytes_get_data(bytes, &size);
    std::string text(static_cast<const char*>(data), size);
    g_bytes_unref(bytes);
    return text;
  };
  std::string out = taken(outcome.out);
  const std::string err = taken(outcome.err);
  if (late) return Unexpected(ErrorCode::failed, command.front() + " does not end");
  if (!g_subprocess_get_successful(process.get()))
    return Unexpected(
        ErrorCode::failed,
        command.front() + " fails: " +
            (err.empty() ? "it says nothing" : printable(err.substr(0, err.find('\n')), 200)));
  return out;
}

std::string user_name(std::uint32_t uid) {
  const passwd* const entry = getpwuid(uid);
  return entry ? entry->pw_name : std::to_string(uid);
}

}  // namespace vf
