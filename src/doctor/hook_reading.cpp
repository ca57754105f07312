// SPDX-License-Identifier: LGPL-2.1-or-later

#include <dirent.h>
#include <limits.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <memory>

#include "doctor/hook.h"

namespace vf {
namespace {

constexpr std::size_t script_bytes = 256 << 10;
constexpr std::size_t most_others = 256;
constexpr char heard_mark[] = "/run/virt-forward/hook-heard";  // of the system daemon

std::string canonical(const std::string& path) {
  char resolved[PATH_MAX];
  return realpath(path.c_str(), resolved) ? resolved : "";
}

// Whether libvirt, which is root, could run it.
bool executable(const struct stat& file) {
  return S_ISREG(file.st_mode) && (file.st_mode & 0111) != 0;
}

std::optional<OtherHook> read_other(const std::string& path) {
  struct stat file {};
  if (stat(path.c_str(), &file) != 0 || !S_ISREG(file.st_mode)) return std::nullopt;
  OtherHook other{path, executable(file), file.st_ctime, {}, true, false};
  const auto text = read_text(path, script_bytes);
  if (!text) {
    other.is_program = true;  // nothing is known of it
    return other;
  }
  other.is_program = text->starts_with(
      "\x7f"
      "ELF");
  if (other.is_program) return other;
  other.text = *text;
  if (text->starts_with("#!")) {
    const std::size_t begin = text->find_first_not_of(" \t", 2);
    const std::size_t end = text->find_first_of(" \t\n", begin);
    const std::string interpreter =
        begin == std::string::npos
            ? ""
            : text->substr(begin, end == std::string::npos ? end : end - begin);
    other.has_interpreter = access(interpreter.c_str(), X_OK) == 0;
  }
  return other;
}

void read_link(HookFacts& facts) {
  struct stat link {};
  if (lstat(facts.link.c_str(), &link) != 0) {
    if (errno != ENOENT && errno != ENOTDIR) facts.unreadable = system_error(errno, facts.link);
    return;
  }
  facts.kind = S_ISLNK(link.st_mode) ? HookFacts::Link::link : HookFacts::Link::file;
  facts.since = link.st_ctime;
  char target[PATH_MAX];
  const ssize_t length = readlink(facts.link.c_str(), target, sizeof target);
  if (length > 0) facts.target.assign(target, static_cast<std::size_t>(length));
  struct stat file {};
  facts.exists = stat(facts.link.c_str(), &file) == 0;
  if (!facts.exists) return;
  facts.executable = executable(file);
  facts.leads_there =
      facts.kind == HookFacts::Link::link && canonical(facts.link) == canonical(facts.program);
  if (facts.leads_there && facts.executable) {
    facts.version = output_of({facts.program, "--version"});
    if (facts.version && facts.version->ends_with('\n')) facts.version->pop_back();
  }
}

}  // namespace

HookFacts read_hook(const std::string& program, const std::string& hooks) {
  HookFacts facts;
  facts.program = program;
  facts.link = hooks + "/qemu.d/50-virt-forward";
  facts.program_exists = access(program.c_str(), F_OK) == 0;
  read_link(facts);
  struct stat mark {};
  if (stat(heard_mark, &mark) == 0) facts.heard = mark.st_mtime;
  facts.libvirt = processes_named({"libvirtd", "virtqemud"});
  std::vector<std::string> paths{hooks + "/qemu"};
  for (const std::string& name : names_in(hooks + "/qemu.d", most_others))
    if (hooks + "/qemu.d/" + name != facts.link) paths.push_back(hooks + "/qemu.d/" + name);
  for (const std::string& path : paths)
    if (auto other = read_other(path)) facts.others.push_back(std::move(*other));
  return facts;
}

}  // namespace vf
