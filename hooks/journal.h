// SPDX-License-Identifier: LGPL-2.1-or-later

#pragma once

#include <string>
#include <string_view>

namespace vf {

// Appends " KEY=VALUE" for a log line: the value printable, in quotes where a reader would need
// them.
void add_field(std::string& line, std::string_view key, std::string_view value);

enum class Severity { warning = 4, info = 6 };

struct LogSockets {
  std::string journal = "/run/systemd/journal/socket";
  std::string syslog = "/dev/log";
};

// One line to the journal, else to syslog, else nowhere. Never waits, never fails visibly.
// `line` is printable.
void log_line(Severity severity, std::string_view line, const LogSockets& sockets = {});

}  // namespace vf
