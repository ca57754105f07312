// SPDX-License-Identifier: LGPL-2.1-or-later

#include "plugin/inventory.h"

#include <utility>

namespace vf {
namespace {

// What a reading after the end of its run says, as far as the end alone tells.
void end_run(DomainSnapshot& snapshot) {
  snapshot.active = snapshot.serving = snapshot.paused = snapshot.guest_agent = false;
  snapshot.id.reset();
  snapshot.vsock_cid.reset();
  snapshot.live_metadata.clear();
  for (GuestInterface& interface : snapshot.interfaces) {
    interface.bridge.clear();
    interface.target.clear();
    interface.alias.clear();
  }
}

}  // namespace

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
  const bool ended = snapshot.active && !reading.active;
  if (!ended && snapshot.live_metadata == reading.live &&
      snapshot.config_metadata == reading.config && snapshot.saved == reading.saved)
    return Outcome::unchanged;
  if (ended) end_run(snapshot);
  snapshot.live_metadata = reading.live;
  snapshot.config_metadata = reading.config;
  snapshot.saved = reading.saved;
  return Outcome::changed;
}

Inventory::Outcome Inventory::starting(const std::string& uuid, int run, std::uint64_t moment) {
  Entry& entry = entries_[uuid];
  if (moment <= entry.sequence) return Outcome::unchanged;
  const bool active = entry.snapshot && entry.snapshot->active;
  if (active && entry.snapshot->id == run) return Outcome::unchanged;
  entry.sequence = moment;
  if (!active) return Outcome::unchanged;
  end_run(*entry.snapshot);
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
