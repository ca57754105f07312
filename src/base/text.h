// SPDX-License-Identifier: LGPL-2.1-or-later
//
// UTF-8 that others wrote. printable() makes any of it fit for a terminal.

#pragma once

#include <cstddef>
#include <optional>
#include <string_view>

namespace vf {

// Takes one code point off the front of UTF-8 text. Nothing, and `text` untouched, at the end and
// where the bytes are not UTF-8 (overlong forms and surrogates are not).
std::optional<char32_t> take_code_point(std::string_view& text);

bool is_utf8(std::string_view text);

// The number of code points, or nothing when `text` is not UTF-8.
std::optional<std::size_t> count_characters(std::string_view text);

// False for control characters, line and paragraph separators, what turns the direction of writing,
// and noncharacters: those that remain XML can carry, too.
bool is_plain(char32_t point);

// True for UTF-8 that can neither end its line nor act on a terminal, and that XML can carry:
// all of it is_plain().
bool is_plain_text(std::string_view text);

}  // namespace vf
