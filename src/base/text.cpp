// SPDX-License-Identifier: LGPL-2.1-or-later

#include "base/text.h"

#include <cstdint>

namespace vf {

bool is_plain(char32_t point) {
  if (point < 0x20 || (point >= 0x7f && point <= 0x9f)) return false;
  if (point == 0x061c || point == 0x200e || point == 0x200f) return false;
  if (point >= 0x2028 && point <= 0x202e) return false;
  if ((point & 0xfffe) == 0xfffe || (point >= 0xfdd0 && point <= 0xfdef)) return false;
  return point < 0x2066 || point > 0x2069;
}

std::optional<char32_t> take_code_point(std::string_view& text) {
  if (text.empty()) return std::nullopt;
  const auto byte = [&](std::size_t at) { return static_cast<std::uint8_t>(text[at]); };
  const std::uint8_t first = byte(0);
  if (first < 0x80) {
    text.remove_prefix(1);
    return first;
  }
  const std::size_t length = first >= 0xf0 ? 4 : first >= 0xe0 ? 3 : 2;
  if (first < 0xc2 || first > 0xf4 || text.size() < length) return std::nullopt;
  char32_t point = first & (0x7fu >> length);
  for (std::size_t at = 1; at < length; ++at) {
    if ((byte(at) & 0xc0) != 0x80) return std::nullopt;
    point = (point << 6) | (byte(at) & 0x3fu);
  }
  constexpr char32_t smallest[] = {0, 0, 0x80, 0x800, 0x10000};
  if (point < smallest[length] || point > 0x10ffff) return std::nullopt;
  if (point >= 0xd800 && point <= 0xdfff) return std::nullopt;
  text.remove_prefix(length);
  return point;
}

std::optional<std::size_t> count_characters(std::string_view text) {
  std::size_t count = 0;
  for (; !text.empty(); ++count)
    if (!take_code_point(text)) return std::nullopt;
  return count;
}

bool is_utf8(std::string_view text) {
  return count_characters(text).has_value();
}

bool is_plain_text(std::string_view text) {
  while (!text.empty()) {
    const auto point = take_code_point(text);
    if (!point || !is_plain(*point)) return false;
  }
  return true;
}

}  // namespace vf
