// SPDX-License-Identifier: LGPL-2.1-or-later
//
// What one guest listens on, as it says, and what the rules make of it. A port that goes keeps its
// forward's host port for a grace time, in which its service may come back. Does no I/O and knows
// no clock: moments are g_get_monotonic_time()'s.

#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "base/guest_listener.h"
#include "core/auto_rules.h"
#include "core/policy.h"

namespace vf {

class GuestPorts {
 public:
  static constexpr std::int64_t grace = 5'000'000;  // microseconds

  struct Entry {
    DetectedPort port;
    AutoDecision decision;
    std::optional<std::int64_t> gone;  // since when nothing listens there any more
    std::uint64_t order = 0;           // in which they appeared
  };

  // What the guest tells. Takes effect with judge().
  void heard(const GuestListener& listener) { listeners_[listener.key] = listener; }
  void gone(const ListenerKey& key) { listeners_.erase(key); }
  void synced(std::uint32_t left_out, std::uint64_t slowed);
  // Nothing of it is known any more: of a guest that has stopped, or whose agent is away for good.
  void clear();

  // Whether a snapshot has been complete since clear().
  bool known() const { return known_; }

  // Decides anew. At most policy.automatic_ports_per_domain are forwarded, the first to appear.
  void judge(const std::optional<AutoDefinition>& definition, const Policy& policy,
             std::int64_t now);

  // In order of id, with those whose grace runs.
  const std::map<std::string, Entry>& entries() const { return entries_; }
  // What listens now.
  const std::vector<DetectedPort>& listening() const { return listening_; }
  // When the first grace ends.
  std::optional<std::int64_t> next_end() const;

  // Ports past what is kept of one guest.
  std::uint32_t left_out() const { return left_out_; }

  // What people should know of it, a line each.
  std::vector<std::string> problems() const;

 private:
  void limit(const Policy& policy);

  std::map<ListenerKey, GuestListener> listeners_;
  std::map<std::string, Entry> entries_;
  std::vector<DetectedPort> listening_;
  std::uint64_t appeared_ = 0;
  bool known_ = false;
  std::uint32_t left_out_ = 0;
  std::uint64_t slowed_ = 0;
};

}  // namespace vf
