// SPDX-License-Identifier: LGPL-2.1-or-later

#include "core/forward_entry.h"

#include <charconv>

namespace vf {
namespace {

constexpr std::string_view before = "entry ";
constexpr std::string_view behind = ": ";

}  // namespace

Error of_entry(Error error, std::size_t entry) {
  error.message =
      std::string(before) + std::to_string(entry + 1) + std::string(behind) + error.message;
  return error;
}

std::optional<std::size_t> take_entry(Error& error) {
  std::string_view text = error.message;
  if (!text.starts_with(before)) return std::nullopt;
  text.remove_prefix(before.size());
  std::size_t number = 0;
  const auto [end, problem] = std::from_chars(text.data(), text.data() + text.size(), number);
  if (problem != std::errc() || number == 0) return std::nullopt;
  text.remove_prefix(static_cast<std::size_t>(end - text.data()));
  if (!text.starts_with(behind)) return std::nullopt;
  error.message = std::string(text.substr(behind.size()));
  return number - 1;
}

}  // namespace vf
