// SPDX-License-Identifier: LGPL-2.1-or-later

#include "panel/kept_place.h"

#include <algorithm>
#include <iterator>
#include <unordered_set>

namespace vf::panel {
namespace {

// The next row below that is still there, else the next above; empty where there is none.
std::string neighbour(const std::string& key, const std::vector<std::string_view>& before,
                      const std::vector<std::string_view>& after) {
  const std::unordered_set<std::string_view> left(after.begin(), after.end());
  const auto stays = [&left](std::string_view one) { return left.contains(one); };
  const auto place = std::ranges::find(before, key);
  if (const auto below = std::find_if(place, before.end(), stays); below != before.end())
    return std::string(*below);
  const auto above = std::find_if(std::reverse_iterator(place), before.rend(), stays);
  return above == before.rend() ? std::string() : std::string(*above);
}

}  // namespace

std::optional<KeptPlace::Goal> KeptPlace::goal(const Place& at,
                                               const std::vector<std::string_view>& before,
                                               const std::vector<std::string_view>& after,
                                               Time now) {
  const auto is_there = [&after](const std::string& key) {
    return std::ranges::find(after, key) != after.end();
  };
  if (lost_ && (at != settled_ || now - lost_->since > patience)) lost_.reset();
  if (lost_ && is_there(lost_->goal.key)) {
    const Goal back = lost_->goal;
    lost_.reset();
    return back;
  }
  if (at.key.empty()) return std::nullopt;
  const bool focus = at.focus != nullptr;
  if (is_there(at.key)) return Goal{at.key, focus};
  // Where its neighbour goes as well, the first is still the one.
  if (!lost_) lost_ = Lost{{at.key, focus}, now};
  if (!focus) return std::nullopt;
  std::string next = neighbour(at.key, before, after);
  if (next.empty()) {
    lost_->goal.focus = false;  // the keyboard leaves the list, and is not fetched back
    return std::nullopt;
  }
  return Goal{std::move(next), true};
}

}  // namespace vf::panel
