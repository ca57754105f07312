// SPDX-License-Identifier: LGPL-2.1-or-later
//
// Lines for the guest's administrator, on standard error; under the journal each with its level in
// front. What a peer can cause again and again goes through a RateLimit.

#pragma once

#include <chrono>
#include <cstdint>
#include <string_view>

namespace vf::guest {

enum class LogLevel { error = 3, warning = 4, notice = 5, info = 6 };

void log_line(LogLevel level, std::string_view line);

// Lets a few through, then one in a while. Says how many it kept back.
class RateLimit {
 public:
  // Whether a line may be written now.
  bool pass();
  // Kept back since the last that passed; then none.
  std::uint32_t take_kept_back();

 private:
  static constexpr int burst = 10;
  static constexpr std::chrono::seconds refill{10};
  int left_ = burst;
  std::uint32_t kept_back_ = 0;
  std::chrono::steady_clock::time_point refilled_{};
};

}  // namespace vf::guest
