// SPDX-License-Identifier: LGPL-2.1-or-later
//
// Counters of several forwards together. A forward counts from its beginning and takes its count
// with it when it goes; a sum of such counts would go back then, which Prometheus takes for a new
// beginning from 0 and so for traffic that never was. So a group's total is of what its forwards
// counted since this object was made: from the reading after the first on it only rises. What a
// forward counted between the last reading and its end is lost.

#pragma once

#include <cstdint>
#include <map>
#include <set>
#include <string>

#include "metrics/detail.h"
#include "metrics/snapshot.h"

namespace vf {

struct TrafficTotals {
  std::uint64_t accepted = 0;
  std::uint64_t failures = 0;
  std::uint64_t bytes_in = 0;
  std::uint64_t bytes_out = 0;
  friend bool operator==(const TrafficTotals&, const TrafficTotals&) = default;
};

class Totals {
 public:
  // By name of the domain, or all under "": Detail::domain or Detail::host.
  explicit Totals(Detail detail) : detail_(detail) {}

  // One that is not up changes nothing.
  void take(const Snapshot& snapshot);
  // Of every domain that the last snapshot had forwards of.
  const std::map<std::string, TrafficTotals>& totals() const { return totals_; }

 private:
  const Detail detail_;
  bool first_ = true;
  std::map<std::string, TrafficTotals> counted_;  // the last of each forward, by object path
  std::map<std::string, TrafficTotals> totals_;
};

}  // namespace vf
