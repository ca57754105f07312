// SPDX-License-Identifier: LGPL-2.1-or-later

#include "metrics/exporter.h"

#include <utility>

#include "metrics/exposition.h"

namespace vf {

Exporter::Exporter(Read read, Detail detail, std::function<void(const std::string&)> log,
                   Clock clock)
    : read_(std::move(read)),
      detail_(detail),
      log_(std::move(log)),
      clock_(std::move(clock)),
      totals_(detail) {}

std::string Exporter::text() {
  const std::lock_guard lock(mutex_);
  if (!text_.empty() && clock_() - read_at_ < fresh) return text_;
  Reading reading = read_();
  if (std::exchange(problem_, reading.problem) != reading.problem && !reading.problem.empty())
    log_(reading.problem);
  totals_.take(reading.snapshot);
  text_ = exposition(reading.snapshot, detail_, totals_.totals());
  read_at_ = clock_();
  return text_;
}

}  // namespace vf
