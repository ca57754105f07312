// SPDX-License-Identifier: LGPL-2.1-or-later

#include "offload/nft_entries.h"

namespace vf {

Result<NftEntries::Change> NftEntries::plan(std::span<const OffloadEntry> gone,
                                            std::span<const OffloadEntry> added) const {
  std::map<Slot, std::optional<OffloadEntry>> wanted;
  for (const OffloadEntry& entry : gone) {
    const auto at = entries_.find({entry.protocol, entry.host});
    if (at != entries_.end() && at->second.key == entry.key && at->second.guest == entry.guest)
      wanted[at->first] = std::nullopt;
  }
  Change change;
  for (const OffloadEntry& entry : added) {
    const Slot slot{entry.protocol, entry.host};
    const auto at = entries_.find(slot);
    const auto planned = wanted.find(slot);
    const OffloadEntry* holder = nullptr;
    if (planned != wanted.end())
      holder = planned->second ? &*planned->second : nullptr;
    else if (at != entries_.end())
      holder = &at->second;
    if (holder && *holder != entry)
      return Unexpected(ErrorCode::invalid_argument,
                        entry.host.text() + " is taken to " + holder->guest.text() + " already");
    change.bridges.insert(entry.bridge);
    wanted[slot] = entry;
  }

  std::map<std::string, std::size_t> bridges;  // as they will be, of those that are concerned
  const auto uses = [&](const std::string& name) -> std::size_t& {
    const auto at = bridges_.find(name);
    return bridges.try_emplace(name, at != bridges_.end() ? at->second : 0).first->second;
  };
  for (const auto& [slot, entry] : wanted) {
    const auto at = entries_.find(slot);
    const OffloadEntry* old = at != entries_.end() ? &at->second : nullptr;
    if (old && entry && *old == *entry) continue;
    const bool same_element = old && entry && old->guest == entry->guest;
    if (old) {
      if (!same_element) change.nft.remove(element(*old));
      change.gone.push_back(*old);
      --uses(old->bridge);
    }
    if (entry) {
      if (!same_element) change.nft.add(element(*entry));
      change.added.push_back(*entry);
      ++uses(entry->bridge);
    }
  }
  for (const auto& [name, count] : bridges) {
    const bool used = bridges_.contains(name);
    if (used && count == 0) change.nft.remove_bridge(name);
    if (!used && count > 0) change.nft.add_bridge(name);
  }
  return change;
}

void NftEntries::commit(const Change& change) {
  for (const OffloadEntry& entry : change.gone) {
    entries_.erase({entry.protocol, entry.host});
    if (const auto at = bridges_.find(entry.bridge); at != bridges_.end() && --at->second == 0)
      bridges_.erase(at);
  }
  for (const OffloadEntry& entry : change.added) {
    entries_.emplace(Slot{entry.protocol, entry.host}, entry);
    ++bridges_[entry.bridge];
  }
}

void NftEntries::clear() {
  entries_.clear();
  bridges_.clear();
}

NftChange NftEntries::everything() const {
  NftChange change;
  for (const auto& [slot, entry] : entries_)
    change.add(element(entry));
  for (const auto& [name, count] : bridges_)
    change.add_bridge(name);
  return change;
}

const OffloadEntry* NftEntries::find(const NftWay& way) const {
  const auto at = entries_.find({way.protocol, way.host});
  return at != entries_.end() && at->second.guest == way.guest ? &at->second : nullptr;
}

std::set<NftWay> NftEntries::ways_of(const std::set<std::string>& keys) const {
  std::set<NftWay> ways;
  for (const auto& [slot, entry] : entries_)
    if (keys.contains(entry.key)) ways.insert(NftWay::of(entry));
  return ways;
}

}  // namespace vf
