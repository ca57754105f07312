// SPDX-License-Identifier: LGPL-2.1-or-later

#include "cli/clipboard.h"

#include <fcntl.h>
#include <glib.h>
#include <unistd.h>

#include <vector>

#include "base/fd.h"
#include "glib/ref.h"

namespace vf {
namespace {

bool has(const char* variable) {
  const char* value = g_getenv(variable);
  return value && *value;
}

// The program that hands text to the desktop; empty where there is no desktop or none is installed.
std::vector<const char*> desktop_program() {
  std::vector<std::vector<const char*>> candidates;
  if (has("WAYLAND_DISPLAY")) candidates.push_back({"wl-copy"});
  if (has("DISPLAY")) {
    candidates.push_back({"xclip", "-selection", "clipboard"});
    candidates.push_back({"xsel", "--clipboard", "--input"});
  }
  for (const auto& candidate : candidates)
    if (!take_string(g_find_program_in_path(candidate.front())).empty()) return candidate;
  return {};
}

// Those programs stay to serve the clipboard, so they must not inherit the caller's stdout: a
// pipe would never end.
Result<void> hand_over(std::vector<const char*> program, const std::string& text) {
  const char* const name = program.front();
  program.push_back(nullptr);
  GErrorOut error;
  const auto process =
      adopt(g_subprocess_newv(program.data(),
                              static_cast<GSubprocessFlags>(G_SUBPROCESS_FLAGS_STDIN_PIPE |
                                                            G_SUBPROCESS_FLAGS_STDOUT_SILENCE |
                                                            G_SUBPROCESS_FLAGS_STDERR_SILENCE),
                              error.out()));
  const auto bytes = adopt(g_bytes_new(text.data(), text.size()));
  if (!process ||
      !g_subprocess_communicate(process.get(), bytes.get(), nullptr, nullptr, nullptr,
                                error.out()) ||
      !g_subprocess_get_successful(process.get()))
    return Unexpected(ErrorCode::failed,
                      std::string("cannot copy: ") + name + " failed; the URL is on stdout");
  return {};
}

}  // namespace

Result<void> copy_to_clipboard(const std::string& text) {
  if (const auto program = desktop_program(); !program.empty()) return hand_over(program, text);
  const Fd terminal(open("/dev/tty", O_WRONLY | O_CLOEXEC | O_NOCTTY));
  if (!terminal)
    return Unexpected(ErrorCode::failed,
                      "cannot copy: there is neither a desktop with wl-copy, xclip or xsel nor a "
                      "terminal; the URL is on stdout");
  const std::string encoded =
      take_string(g_base64_encode(reinterpret_cast<const guchar*>(text.data()), text.size()));
  const std::string request = "\x1b]52;c;" + encoded + "\x07";
  if (write(terminal.get(), request.data(), request.size()) != static_cast<ssize_t>(request.size()))
    return Unexpected(system_error(errno, "cannot copy by the terminal"));
  return {};
}

}  // namespace vf
