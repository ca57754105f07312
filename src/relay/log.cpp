// SPDX-License-Identifier: LGPL-2.1-or-later

#include "relay/log.h"

#include <limits.h>
#include <poll.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>

namespace vf {

void log_line(LogLevel level, std::string_view line) {
  static const bool in_journal = std::getenv("JOURNAL_STREAM") != nullptr;
  std::string whole;
  if (in_journal) whole = '<' + std::to_string(static_cast<int>(level)) + '>';
  whole += line;
  whole += '\n';
  // One write, so that lines of several programs do not mix. A log that is full loses lines: nobody
  // who reads it slowly holds up a connection. (A pipe that is writable has room for PIPE_BUF.)
  pollfd log{STDERR_FILENO, POLLOUT, 0};
  if (poll(&log, 1, 0) != 1 || (log.revents & POLLOUT) == 0) return;
  if (whole.size() > PIPE_BUF) {
    whole.resize(PIPE_BUF - 1);
    whole += '\n';
  }
  [[maybe_unused]] const ssize_t written = write(STDERR_FILENO, whole.data(), whole.size());
}

std::string log_field(std::string_view name, std::string_view value) {
  std::string field = ' ' + std::string(name) + "=\"";
  for (const char character : value) {
    const auto byte = static_cast<unsigned char>(character);
    if (byte == '"' || byte == '\\') {
      field += '\\';
      field += character;
    } else if (byte < 0x20 || byte >= 0x7f) {
      char escaped[5];
      std::snprintf(escaped, sizeof escaped, "\\x%02x", byte);
      field += escaped;
    } else {
      field += character;
    }
  }
  return field + '"';
}

}  // namespace vf
