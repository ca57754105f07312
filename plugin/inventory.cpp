// SPDX-License-Identifier: LGPL-2.1-or-later

#include "plugin/inventory.h"

#include <utility>

namespace vf {

Inventory::Outcome Inventory::apply(DomainReading reading) {
  Entry& entry = entries_[reading.uuid];
  if (reading.sequence <= entry.sequence) return Outcome::unchanged;
  entry.sequence = reading.sequence;
  if (!reading.snapshot) {
    const bool was_there = entry.snapshot.has_value();
    entry.snapshot.reset();
    return was_there ? Outcome::gone : Outcome::unchanged;
  }
  DomainSnapshot& now = *reading.snapshot;
  // Paused around a migration: the source had its guest running and may have it again, the
  // destination has not yet.
  const bool served_before =
      entry.snapshot && entry.snapshot->serving && entry.snapshot->id == now.id;
  now.serving = now.active && (!reading.arriving || served_before);
  if (entry.snapshot == now) return Outcome::unchanged;
  entry.snapshot = std::move(now);
  return Outcome::changed;
}

Inventory::Outcome Inventory::apply(const MetadataReading& reading) {
  const auto found = entries_.find(reading.uuid);
  if (found == entries_.end() || !found->second.snapshot) return Outcome::unchanged;
  Entry& entry = found->second;
  if (reading.sequence <= entry.sequence) return Outcome::unchanged;
  entry.sequence = reading.sequence;
  DomainSnapshot& snapshot = *entry.snapshot;
  if (snapshot.live_metadata == reading.live && snapshot.config_metadata == reading.config)
    return Outcome::unchanged;
  snapshot.live_metadata = reading.live;
  snapshot.config_metadata = reading.config;
  return Outcome::changed;
}

void Inventory::apply(FullReading reading) {
  for (DomainReading& domain : reading.domains)
    apply(std::move(domain));
  std::erase_if(entries_,
                [&](const auto& item) { return item.second.sequence < reading.sequence; });
}

const DomainSnapshot* Inventory::find(const std::string& uuid) const {
  const auto found = entries_.find(uuid);
  return found != entries_.end() && found->second.snapshot ? &*found->second.snapshot : nullptr;
}

std::vector<DomainSnapshot> Inventory::domains() const {
  std::vector<DomainSnapshot> result;
  for (const auto& [uuid, entry] : entries_)
    if (entry.snapshot) result.push_back(*entry.snapshot);
  return result;
}

}  // namespace vf
