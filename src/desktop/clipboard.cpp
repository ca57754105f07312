// SPDX-License-Identifier: LGPL-2.1-or-later

#include "desktop/clipboard.h"

#include <glib.h>

#include <vector>

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
    return Unexpected(ErrorCode::failed, std::string("cannot copy: ") + name + " failed");
  return {};
}

}  // namespace

Result<void> copy_to_desktop(const std::string& text) {
  if (const auto program = desktop_program(); !program.empty()) return hand_over(program, text);
  return Unexpected(ErrorCode::not_supported,
                    "cannot copy: there is no desktop with wl-copy, xclip or xsel");
}

}  // namespace vf
