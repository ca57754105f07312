// SPDX-License-Identifier: LGPL-2.1-or-later
//
// What a daemon tells of itself and its relay, for those who watch over it.

#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <utility>
#include <vector>

namespace vf {

// How long the rounds of the loops of one lane of the relay took, since the relay began: what comes
// during a round waits for its end. Microseconds.
struct LaneStatistics {
  std::string lane;  // "swift", which accepts and answers what is small, or "bulk"
  std::uint64_t rounds = 0;
  std::uint64_t microseconds = 0;  // of all together
  // Bound, and the rounds that did not exceed it; bounds rise. Those past the last are in none.
  std::vector<std::pair<std::uint64_t, std::uint64_t>> within;
  friend bool operator==(const LaneStatistics&, const LaneStatistics&) = default;
};

// Counts that only rise, and begin anew with the process that counts. Absent is unknown.
struct DaemonStatistics {
  std::optional<std::uint64_t> connections_refused;  // past a bound; since the relay began
  std::optional<std::uint64_t> datagrams_lost;       // the same
  // Turns in which a guest's ports changed faster than they are followed; since the daemon began.
  std::optional<std::uint64_t> guest_reports_slowed;
  // Ports that guests have open past what is kept of one guest, now.
  std::optional<std::uint64_t> guest_ports_left_out;
  std::vector<LaneStatistics> lanes;  // empty where no relay is connected or it does not tell
};

}  // namespace vf
