// SPDX-License-Identifier: LGPL-2.1-or-later

#include "guest/log.h"

#include <unistd.h>

#include <cstdlib>
#include <string>
#include <utility>

namespace vf::guest {

void log_line(LogLevel level, std::string_view line) {
  static const bool journal = std::getenv("JOURNAL_STREAM") != nullptr;
  std::string text;
  if (journal)
    text = "<" + std::to_string(static_cast<int>(level)) + ">";
  else
    text = "virt-forward-guest: ";
  text += line;
  text += '\n';
  // Nobody is told when this fails.
  if (write(STDERR_FILENO, text.data(), text.size()) < 0) return;
}

bool RateLimit::pass() {
  const auto now = std::chrono::steady_clock::now();
  if (now - refilled_ >= refill) {
    left_ = burst;
    refilled_ = now;
  }
  if (left_ > 0) {
    --left_;
    return true;
  }
  ++kept_back_;
  return false;
}

std::uint32_t RateLimit::take_kept_back() {
  return std::exchange(kept_back_, 0);
}

}  // namespace vf::guest
