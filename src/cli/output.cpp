// SPDX-License-Identifier: LGPL-2.1-or-later

#include "cli/output.h"

#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <cstring>

#include "base/printable.h"

namespace vf {
namespace {

int write_error = 0;

void note_error() {
  if (write_error == 0) write_error = errno != 0 ? errno : EIO;
}

}  // namespace

void print(std::string_view text) {
  if (text.empty() || write_error != 0) return;
  if (std::fwrite(text.data(), 1, text.size(), stdout) != text.size()) note_error();
}

bool flush() {
  if (std::fflush(stdout) != 0) note_error();
  return write_error == 0;
}

void say(std::string_view text) {
  std::string lines;
  while (!text.empty()) {
    const std::size_t end = text.find('\n');
    const std::string_view line = text.substr(0, end);
    if (!line.empty()) lines += "virt-forward: " + printable(line, 4096) + '\n';
    text = end == std::string_view::npos ? std::string_view() : text.substr(end + 1);
  }
  flush();
  std::fwrite(lines.data(), 1, lines.size(), stderr);
}

int fail(const Error& error) {
  say(error.message);
  return exit_status(error.code);
}

int finish(int status) {
  flush();
  if (write_error == 0) return status;
  if (write_error == EPIPE) return status;
  say(std::string("cannot write the output: ") + std::strerror(write_error));
  return status == 0 ? 1 : status;
}

bool stdout_is_terminal() {
  return isatty(STDOUT_FILENO) == 1;
}

bool color_wanted(std::string_view when) {
  if (when == "always") return true;
  if (when == "never" || !stdout_is_terminal()) return false;
  const char* no_color = std::getenv("NO_COLOR");
  const char* terminal = std::getenv("TERM");
  return !(no_color && *no_color) && !(terminal && std::string_view(terminal) == "dumb");
}

std::string quote(std::string_view name) {
  return '"' + printable(name) + '"';
}

}  // namespace vf
