// SPDX-License-Identifier: LGPL-2.1-or-later
//
// The metrics of a snapshot in Prometheus's text format: virt-forward-metrics(8) lists them, and
// contrib/grafana shows them.

#pragma once

#include <map>
#include <string>

#include "metrics/detail.h"
#include "metrics/snapshot.h"
#include "metrics/totals.h"

namespace vf {

inline constexpr char exposition_type[] = "text/plain; version=0.0.4; charset=utf-8";

// `totals` is not looked at with Detail::forward, where each forward has its own counters.
std::string exposition(const Snapshot& snapshot, Detail detail,
                       const std::map<std::string, TrafficTotals>& totals);

}  // namespace vf
