// SPDX-License-Identifier: LGPL-2.1-or-later

#include "base/port.h"

#include <charconv>

namespace vf {

std::optional<Port> Port::parse(std::string_view text) {
  if (text.empty() || text.front() < '1' || text.front() > '9') return std::nullopt;
  std::uint64_t number = 0;
  auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  if (error != std::errc() || end != text.data() + text.size()) return std::nullopt;
  return from(number);
}

std::optional<PortRange> PortRange::parse(std::string_view text) {
  const std::size_t dash = text.find('-');
  const auto low = Port::parse(text.substr(0, dash));
  const auto high = dash == std::string_view::npos ? low : Port::parse(text.substr(dash + 1));
  if (!low || !high) return std::nullopt;
  return from(*low, *high);
}

std::string PortRange::text() const {
  std::string text = std::to_string(low_.number());
  if (low_ != high_) text += '-' + std::to_string(high_.number());
  return text;
}

}  // namespace vf
