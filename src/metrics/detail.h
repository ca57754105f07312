// SPDX-License-Identifier: LGPL-2.1-or-later

#pragma once

#include <optional>
#include <string_view>

namespace vf {

// How finely metrics are told apart, which decides how many there are: of the host, of each of its
// domains, or of each forward.
enum class Detail { host, domain, forward };

constexpr std::optional<Detail> parse_detail(std::string_view word) {
  if (word == "host") return Detail::host;
  if (word == "domain") return Detail::domain;
  if (word == "forward") return Detail::forward;
  return std::nullopt;
}

}  // namespace vf
