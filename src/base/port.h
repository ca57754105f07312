// SPDX-License-Identifier: LGPL-2.1-or-later

#pragma once

#include <compare>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace vf {

// A TCP or UDP port, 1 to 65535: 0 cannot be held.
class Port {
 public:
  static constexpr std::optional<Port> from(std::uint64_t number) {
    if (number < 1 || number > 65535) return std::nullopt;
    return Port(static_cast<std::uint16_t>(number));
  }
  // Decimal digits only: no sign, no space, no leading zero.
  static std::optional<Port> parse(std::string_view text);

  constexpr std::uint16_t number() const { return number_; }

  friend constexpr auto operator<=>(Port, Port) = default;

 private:
  constexpr explicit Port(std::uint16_t number) : number_(number) {}
  std::uint16_t number_;
};

// An inclusive range, low <= high; a single port is a range of width 1.
class PortRange {
 public:
  constexpr PortRange(Port single) : low_(single), high_(single) {}
  static constexpr std::optional<PortRange> from(Port low, Port high) {
    if (high < low) return std::nullopt;
    return PortRange(low, high);
  }
  // "80" or "8000-8009"; low may equal high.
  static std::optional<PortRange> parse(std::string_view text);

  constexpr Port low() const { return low_; }
  constexpr Port high() const { return high_; }
  constexpr std::uint32_t width() const { return 1u + high_.number() - low_.number(); }
  constexpr bool contains(Port port) const { return low_ <= port && port <= high_; }
  // The port `offset` places above low(); offset < width().
  constexpr Port at(std::uint32_t offset) const { return *Port::from(low_.number() + offset); }
  // "80" or "8000-8009".
  std::string text() const;

  friend constexpr bool operator==(const PortRange&, const PortRange&) = default;

 private:
  constexpr PortRange(Port low, Port high) : low_(low), high_(high) {}
  Port low_;
  Port high_;
};

}  // namespace vf
