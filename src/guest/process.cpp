// SPDX-License-Identifier: LGPL-2.1-or-later

#include "guest/process.h"

#include <dirent.h>
#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <charconv>
#include <cstdlib>
#include <memory>
#include <optional>
#include <unordered_set>

#include "base/fd.h"
#include "base/guest_listener.h"

namespace vf::guest {
namespace {

struct CloseDirectory {
  void operator()(DIR* directory) const { closedir(directory); }
};
using Directory = std::unique_ptr<DIR, CloseDirectory>;

std::optional<std::uint32_t> number_in(std::string_view text) {
  std::uint32_t number = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  if (error != std::errc() || end != text.data() + text.size()) return std::nullopt;
  return number;
}

std::string path_of(std::uint32_t pid, const char* what) {
  return "/proc/" + std::to_string(pid) + '/' + what;
}

std::string read_start(const std::string& path, std::size_t most) {
  const Fd fd(open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK));
  if (!fd) return {};
  std::string text(most, '\0');
  const ssize_t got = read(fd.get(), text.data(), text.size());
  text.resize(got > 0 ? static_cast<std::size_t>(got) : 0);
  return text;
}

// "socket:[INODE]"
std::optional<std::uint32_t> inode_in(std::string_view link) {
  constexpr std::string_view begin = "socket:[";
  if (!link.starts_with(begin) || !link.ends_with(']')) return std::nullopt;
  return number_in(link.substr(begin.size(), link.size() - begin.size() - 1));
}

// Calls with the inode of each socket that the process has open, until it says false.
template <typename Each>
void each_socket(std::uint32_t pid, Each each) {
  const Directory directory(opendir(path_of(pid, "fd").c_str()));
  if (!directory) return;
  while (const dirent* const entry = readdir(directory.get())) {
    if (entry->d_name[0] == '.') continue;
    char link[64];
    const ssize_t length = readlinkat(dirfd(directory.get()), entry->d_name, link, sizeof link);
    if (length <= 0) continue;
    const auto inode = inode_in({link, static_cast<std::size_t>(length)});
    if (inode && !each(*inode)) return;
  }
}

std::vector<std::uint32_t> all_processes() {
  std::vector<std::uint32_t> pids;
  const Directory directory(opendir("/proc"));
  if (!directory) return pids;
  while (const dirent* const entry = readdir(directory.get()))
    if (const auto pid = number_in(entry->d_name)) pids.push_back(*pid);
  std::ranges::sort(pids);
  return pids;
}

bool is_container(std::string_view part) {
  constexpr std::string_view scopes[] = {"docker-", "libpod-",  "cri-containerd-",
                                         "crio-",   "machine-", "nspawn-"};
  if (part.ends_with(".scope"))
    return std::ranges::any_of(scopes,
                               [&](std::string_view begin) { return part.starts_with(begin); });
  return part.starts_with("lxc.payload.") ||
         (part.starts_with("systemd-nspawn@") && part.ends_with(".service"));
}

std::string_view take_part(std::string_view& path) {
  const auto end = std::min(path.find('/'), path.size());
  const std::string_view part = path.substr(0, end);
  path.remove_prefix(std::min(end + 1, path.size()));
  return part;
}

std::string container_in(std::string_view path) {
  std::string_view service;
  std::string_view before;
  while (!path.empty()) {
    const std::string_view part = take_part(path);
    if (is_container(part)) return std::string(part);
    // Those that are not told to systemd.
    if ((before == "docker" || before == "lxc" || before == "podman") && !part.empty())
      return std::string(before) + '/' + std::string(part);
    if (part.ends_with(".service") && !part.starts_with("user@")) service = part;
    before = part;
  }
  return std::string(service);
}

}  // namespace

std::string container_of(std::string_view control_groups) {
  std::string found;
  while (!control_groups.empty()) {
    const auto end = std::min(control_groups.find('\n'), control_groups.size());
    const std::string_view line = control_groups.substr(0, end);
    control_groups.remove_prefix(std::min(end + 1, control_groups.size()));
    // "0::/path", or of systemd beside the older kind.
    const bool unified = line.starts_with("0::/");
    if (!unified && line.find(":name=systemd:/") == std::string_view::npos) continue;
    const std::string here = container_in(line.substr(line.find('/') + 1));
    if (unified && !here.empty()) return here;
    if (!here.empty()) found = here;
  }
  return found;
}

ProcessText read_process(std::uint32_t pid) {
  ProcessText text;
  text.name = read_start(path_of(pid, "comm"), GuestListener::max_name_bytes + 1);
  if (text.name.ends_with('\n')) text.name.pop_back();
  text.command = read_start(path_of(pid, "cmdline"), GuestListener::max_command_bytes);
  while (text.command.ends_with('\0'))
    text.command.pop_back();
  std::ranges::replace(text.command, '\0', ' ');
  text.container = container_of(read_start(path_of(pid, "cgroup"), 4096));
  return text;
}

std::vector<std::uint32_t> sockets_of(std::uint32_t pid) {
  std::vector<std::uint32_t> inodes;
  each_socket(pid, [&](std::uint32_t one) {
    inodes.push_back(one);
    return true;
  });
  std::ranges::sort(inodes);
  return inodes;
}

std::map<std::uint32_t, std::uint32_t> find_holders(const std::vector<std::uint32_t>& inodes) {
  std::map<std::uint32_t, std::uint32_t> holders;
  std::unordered_set<std::uint32_t> wanted(inodes.begin(), inodes.end());
  for (const std::uint32_t pid : all_processes()) {
    if (wanted.empty()) break;
    each_socket(pid, [&](std::uint32_t inode) {
      if (!wanted.contains(inode)) return true;
      holders[inode] = pid;
      if (pid != 1) wanted.erase(inode);
      return !wanted.empty();
    });
  }
  return holders;
}

}  // namespace vf::guest
