// SPDX-License-Identifier: LGPL-2.1-or-later
//
// The daemon's log: to the journal with fields when it runs under one, else to stderr as text. The
// text of a line carries the same key=value pairs, so that one forward's life reads as one story.

#pragma once

#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace vf {

enum class LogLevel { error = 3, warning = 4, notice = 5, info = 6, debug = 7 };

// Names in lower case ("domain"); in the journal they become VIRT_FORWARD_DOMAIN. Values may be
// anybody's text: they are made printable, bounded and, where needed, quoted.
using LogFields = std::vector<std::pair<std::string_view, std::string>>;

void log(LogLevel level, std::string_view message, const LogFields& fields = {});

// Debug lines are dropped unless this was called with true.
void log_debug_lines(bool wanted);

}  // namespace vf
