// SPDX-License-Identifier: LGPL-2.1-or-later

#include "core/glob.h"

#include <optional>

#include "base/text.h"

namespace vf {
namespace {

// Bytes that are not UTF-8 get values of their own, above all code points.
char32_t take(std::string_view& text) {
  if (const auto point = take_code_point(text)) return *point;
  const auto byte = static_cast<unsigned char>(text.front());
  text.remove_prefix(1);
  return 0x110000 + byte;
}

// Takes a class off `pattern`, which stands behind the '['. Nothing, and `pattern` untouched, where
// it is not closed.
std::optional<bool> take_class(std::string_view& pattern, char32_t candidate) {
  std::string_view rest = pattern;
  bool negated = false;
  if (!rest.empty() && (rest.front() == '!' || rest.front() == '^')) {
    negated = true;
    rest.remove_prefix(1);
  }
  bool found = false;
  for (bool first = true; !rest.empty(); first = false) {
    if (rest.front() == ']' && !first) {
      rest.remove_prefix(1);
      pattern = rest;
      return found != negated;
    }
    const auto member = [&rest] {
      if (rest.front() == '\\' && rest.size() > 1) rest.remove_prefix(1);
      return take(rest);
    };
    const char32_t low = member();
    char32_t high = low;
    if (rest.size() > 1 && rest[0] == '-' && rest[1] != ']') {
      rest.remove_prefix(1);
      high = member();
    }
    found = found || (low <= candidate && candidate <= high);
  }
  return std::nullopt;
}

// Takes one element other than '*' off the pattern and says whether it stands for `candidate`.
bool take_element(std::string_view& pattern, char32_t candidate) {
  if (pattern.front() == '[') {
    std::string_view behind = pattern.substr(1);
    if (const auto in_class = take_class(behind, candidate)) {
      pattern = behind;
      return *in_class;
    }
  }
  if (pattern.front() == '?') {
    pattern.remove_prefix(1);
    return true;
  }
  if (pattern.front() == '\\' && pattern.size() > 1) pattern.remove_prefix(1);
  return take(pattern) == candidate;
}

}  // namespace

// Only the last star is ever tried again: what an earlier one could take besides, the last one can
// take as well.
bool glob_matches(std::string_view pattern, std::string_view text) {
  std::optional<std::string_view> behind_star;
  std::string_view retry_at;
  while (true) {
    if (!pattern.empty() && pattern.front() == '*') {
      pattern.remove_prefix(1);
      behind_star = pattern;
      retry_at = text;
      continue;
    }
    if (text.empty() && pattern.empty()) return true;
    if (!text.empty() && !pattern.empty()) {
      std::string_view rest = text;
      const char32_t candidate = take(rest);
      if (take_element(pattern, candidate)) {
        text = rest;
        continue;
      }
    }
    if (!behind_star || retry_at.empty()) return false;
    take(retry_at);
    text = retry_at;
    pattern = *behind_star;
  }
}

std::string literal_glob(std::string_view text) {
  std::string pattern;
  for (const char byte : text) {
    if (std::string_view("*?[\\").find(byte) != std::string_view::npos) pattern += '\\';
    pattern += byte;
  }
  return pattern;
}

}  // namespace vf
