// SPDX-License-Identifier: LGPL-2.1-or-later
//
// "Did you mean …?"

#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace vf {

// The candidate that the word was meant to be, as far as slips of the keyboard tell: one with at
// most two edits (a letter too many, missing or wrong, two neighbours swapped), fewer where the
// word is short. The first of equally near ones.
std::optional<std::string> nearest(std::string_view word,
                                   const std::vector<std::string>& candidates);

// "; did you mean "NAME"?", or nothing.
std::string did_you_mean(std::string_view word, const std::vector<std::string>& candidates);

}  // namespace vf
