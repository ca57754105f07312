// SPDX-License-Identifier: LGPL-2.1-or-later

#pragma once

#include <chrono>
#include <functional>
#include <mutex>
#include <string>

#include "metrics/detail.h"
#include "metrics/snapshot.h"
#include "metrics/totals.h"

namespace vf {

// The current metrics, however many ask: a reading serves all who come within a second of its end,
// so that scrapes cost the daemon one reading a second at most. Any thread.
class Exporter {
 public:
  static constexpr std::chrono::seconds fresh{1};

  using Read = std::function<Reading()>;
  using Clock = std::function<std::chrono::steady_clock::time_point()>;
  // `log` gets what is wrong when it changes, not with every scrape.
  Exporter(Read read, Detail detail, std::function<void(const std::string&)> log,
           Clock clock = std::chrono::steady_clock::now);

  std::string text();

 private:
  const Read read_;
  const Detail detail_;
  const std::function<void(const std::string&)> log_;
  const Clock clock_;
  std::mutex mutex_;
  Totals totals_;
  std::string problem_;
  std::string text_;
  std::chrono::steady_clock::time_point read_at_{};
};

}  // namespace vf
