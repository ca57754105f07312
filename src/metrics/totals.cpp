// SPDX-License-Identifier: LGPL-2.1-or-later

#include "metrics/totals.h"

#include <utility>

namespace vf {
namespace {

// A count that is lower than before has begun anew; one that is unknown stays as it was.
void add(std::uint64_t& total, std::uint64_t& before, const std::optional<std::uint64_t>& now) {
  if (!now) return;
  total += *now >= before ? *now - before : *now;
  before = *now;
}

}  // namespace

void Totals::take(const Snapshot& snapshot) {
  if (!snapshot.up) return;
  std::map<std::string, TrafficTotals> totals;
  std::map<std::string, TrafficTotals> counted;
  for (const auto& [path, forward] : snapshot.forwards) {
    const std::string group = detail_ == Detail::host ? std::string() : forward.view.domain;
    auto [place, added] = totals.try_emplace(group);
    if (added)
      if (const auto known = totals_.find(group); known != totals_.end())
        place->second = known->second;
    if (!forward.counters) continue;
    const auto last = counted_.find(path);
    TrafficTotals before = last == counted_.end() ? TrafficTotals() : last->second;
    TrafficTotals unused;
    // What the forwards of the first snapshot have is where counting begins.
    TrafficTotals& total = first_ ? unused : place->second;
    add(total.accepted, before.accepted, forward.counters->accepted);
    add(total.failures, before.failures, forward.counters->failures);
    add(total.bytes_in, before.bytes_in, forward.counters->bytes_in);
    add(total.bytes_out, before.bytes_out, forward.counters->bytes_out);
    counted.emplace(path, before);
  }
  if (detail_ == Detail::host && !totals.contains("")) totals[""] = totals_[""];
  first_ = false;
  counted_ = std::move(counted);
  totals_ = std::move(totals);
}

}  // namespace vf
