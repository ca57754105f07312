// SPDX-License-Identifier: LGPL-2.1-or-later
//
// Lines for the administrator, on standard error: "event key=value …". Under the journal each
// carries its level in front, as sd-daemon(3) has it. Any thread.

#pragma once

#include <string>
#include <string_view>

namespace vf {

enum class LogLevel { error = 3, warning = 4, info = 6, debug = 7 };

void log_line(LogLevel level, std::string_view line);

// ` name="value"`, with what does not print, quotes and backslashes escaped.
std::string log_field(std::string_view name, std::string_view value);

}  // namespace vf
