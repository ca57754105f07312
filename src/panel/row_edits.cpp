// SPDX-License-Identifier: LGPL-2.1-or-later
//
// Keys that are in both lists can stay as long as they keep their order. The most that can is a
// longest rising sequence of their old places, found as patience sorting does: of all sequences
// of a length the one with the lowest end is remembered, since it has the best chance to go on.

#include "panel/row_edits.h"

#include <algorithm>
#include <unordered_map>

namespace vf::panel {
namespace {

constexpr std::size_t none = static_cast<std::size_t>(-1);

struct Pair {
  std::size_t before;    // its place in the old list
  std::size_t now;       // and in the new one
  std::size_t previous;  // in the sequence, as a number of a pair
};

std::vector<Pair> kept(const std::vector<std::string_view>& before,
                       const std::vector<std::string_view>& now) {
  std::unordered_map<std::string_view, std::size_t> places;
  for (std::size_t i = 0; i < before.size(); ++i)
    places.emplace(before[i], i);
  std::vector<Pair> pairs;
  std::vector<std::size_t> ends;  // of the sequences with one pair, two, …
  for (std::size_t i = 0; i < now.size(); ++i) {
    const auto found = places.find(now[i]);
    if (found == places.end()) continue;
    const auto end = std::ranges::lower_bound(ends, found->second, {},
                                              [&](std::size_t of) { return pairs[of].before; });
    pairs.push_back({found->second, i, end == ends.begin() ? none : *(end - 1)});
    if (end == ends.end())
      ends.push_back(pairs.size() - 1);
    else
      *end = pairs.size() - 1;
  }
  std::vector<Pair> sequence;
  for (std::size_t of = ends.empty() ? none : ends.back(); of != none; of = pairs[of].previous)
    sequence.push_back(pairs[of]);
  std::ranges::reverse(sequence);
  return sequence;
}

}  // namespace

std::vector<Splice> splices(const std::vector<std::string_view>& before,
                            const std::vector<std::string_view>& now) {
  std::vector<Pair> stay = kept(before, now);
  stay.push_back({before.size(), now.size(), none});  // the ends meet
  std::vector<Splice> edits;
  std::size_t old_place = 0;
  std::size_t place = 0;
  for (const Pair& pair : stay) {
    if (pair.before > old_place || pair.now > place)
      edits.push_back({place, pair.before - old_place, pair.now - place});
    old_place = pair.before + 1;
    place = pair.now + 1;
  }
  return edits;
}

}  // namespace vf::panel
