// SPDX-License-Identifier: LGPL-2.1-or-later

#pragma once

#include <compare>
#include <map>
#include <optional>
#include <set>
#include <span>
#include <string>
#include <vector>

#include "base/result.h"
#include "offload/nft_ruleset.h"
#include "offload/offload.h"

namespace vf {

// Where connections are taken from, and where to. Of two entries with the same way the kernel
// cannot tell whose connection it is.
struct NftWay {
  Protocol protocol = Protocol::tcp;
  Endpoint host;
  Endpoint guest;
  static NftWay of(const OffloadEntry& entry) { return {entry.protocol, entry.host, entry.guest}; }
  friend auto operator<=>(const NftWay&, const NftWay&) = default;
};

// The entries that are taken, one for each protocol and host address, and what has to be done to
// change them.
class NftEntries {
 public:
  struct Change {
    NftChange nft;
    std::vector<OffloadEntry> gone;
    std::vector<OffloadEntry> added;
    std::set<std::string> bridges;  // that must let loopback addresses pass for `added`
  };

  // Of `gone` what is not there is passed over, of `added` what is. An error when two forwards
  // would have the same host address.
  Result<Change> plan(std::span<const OffloadEntry> gone,
                      std::span<const OffloadEntry> added) const;
  void commit(const Change& change);
  void clear();

  // To take all of it in an empty table.
  NftChange everything() const;

  bool empty() const { return entries_.empty(); }
  bool uses(const std::string& bridge) const { return bridges_.contains(bridge); }
  // Null when nothing is taken that way.
  const OffloadEntry* find(const NftWay& way) const;
  std::set<NftWay> ways_of(const std::set<std::string>& keys) const;

 private:
  struct Slot {
    Protocol protocol;
    Endpoint host;
    friend auto operator<=>(const Slot&, const Slot&) = default;
  };
  static NftElement element(const OffloadEntry& entry) {
    return {entry.protocol, entry.host, entry.guest};
  }

  std::map<Slot, OffloadEntry> entries_;
  std::map<std::string, std::size_t> bridges_;  // how many entries go out of each
};

}  // namespace vf
