// SPDX-License-Identifier: LGPL-2.1-or-later
//
// What makes one list of keys of another one. Pure.

#pragma once

#include <cstddef>
#include <string_view>
#include <vector>

namespace vf::panel {

struct Splice {
  std::size_t at;       // in the new list; up to there both are the same once those before are done
  std::size_t removed;  // so many that are there in the old one go
  std::size_t added;    // so many of the new one come
  bool operator==(const Splice&) const = default;
};

// Takes out and puts in as few as can be, first to last. Keys are unique in each list.
std::vector<Splice> splices(const std::vector<std::string_view>& before,
                            const std::vector<std::string_view>& now);

}  // namespace vf::panel
