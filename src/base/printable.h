// SPDX-License-Identifier: LGPL-2.1-or-later

#pragma once

#include <cstddef>
#include <string>
#include <string_view>

namespace vf {

// Text of unknown origin, safe for a terminal, a log line and XML: control characters, characters
// that reorder a line, noncharacters and bytes that are not UTF-8 become "\xNN" per byte. Past
// `max_bytes` of output it is cut and ends in "...".
std::string printable(std::string_view text, std::size_t max_bytes = 1024);

}  // namespace vf
