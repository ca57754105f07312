// SPDX-License-Identifier: LGPL-2.1-or-later
//
// The domains as last read. Readings run side by side and may come in late: an older one never
// replaces a newer one. No I/O.

#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "plugin/domain_reader.h"
#include "plugin/domain_snapshot.h"

namespace vf {

class Inventory {
 public:
  enum class Outcome { unchanged, changed, gone };

  Outcome apply(DomainReading reading);
  Outcome apply(const MetadataReading& reading);
  // A start is being prepared: at `moment` (on the clock of the sequences) nothing of the domain
  // ran, and `run` was about to begin. A run known from before is over, and what was read before
  // does not count any more. What was read since stands: it is this run or a later one. So is a
  // run of this number whenever it was read: libvirt gives it just before the hook runs.
  Outcome starting(const std::string& uuid, int run, std::uint64_t moment);
  // A domain that was not in the list is gone, unless it was read after the list was made.
  void apply(FullReading reading);

  // Null when there is no such domain. Stable until the next apply().
  const DomainSnapshot* find(const std::string& uuid) const;
  std::vector<DomainSnapshot> domains() const;

 private:
  // Without a snapshot: known to be gone since `sequence`.
  struct Entry {
    std::uint64_t sequence = 0;
    std::optional<DomainSnapshot> snapshot;
  };
  std::map<std::string, Entry> entries_;
};

}  // namespace vf
