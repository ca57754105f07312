// SPDX-License-Identifier: LGPL-2.1-or-later

#include "base/printable.h"

#include <cstdint>

#include "base/text.h"

namespace vf {

std::string printable(std::string_view text, std::size_t max_bytes) {
  constexpr std::string_view cut = "...";
  std::string shown;
  std::size_t room = 0;  // length of `shown` that still leaves place for `cut`
  while (!text.empty()) {
    std::string_view rest = text;
    const auto point = take_code_point(rest);
    const std::size_t length = point ? text.size() - rest.size() : 1;
    if (point && is_plain(*point)) {
      shown += text.substr(0, length);
    } else {
      constexpr std::string_view digits = "0123456789abcdef";
      for (const char c : text.substr(0, length)) {
        const auto value = static_cast<std::uint8_t>(c);
        shown += {'\\', 'x', digits[value >> 4], digits[value & 15]};
      }
    }
    if (shown.size() > max_bytes) {
      shown.resize(room);
      return shown += cut;
    }
    if (shown.size() + cut.size() <= max_bytes) room = shown.size();
    text.remove_prefix(length);
  }
  return shown;
}

}  // namespace vf
