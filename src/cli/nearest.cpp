// SPDX-License-Identifier: LGPL-2.1-or-later

#include "cli/nearest.h"

#include <algorithm>

#include "cli/output.h"

namespace vf {
namespace {

constexpr std::size_t longest_word = 64;
constexpr std::size_t most_edits = 2;

// Edits (insert, delete, replace, swap of neighbours) from one word to the other.
std::size_t distance(std::string_view from, std::string_view to) {
  std::vector<std::vector<std::size_t>> d(from.size() + 1, std::vector<std::size_t>(to.size() + 1));
  for (std::size_t i = 0; i <= from.size(); ++i) {
    for (std::size_t j = 0; j <= to.size(); ++j) {
      if (i == 0 || j == 0) {
        d[i][j] = i + j;
        continue;
      }
      const bool same = from[i - 1] == to[j - 1];
      d[i][j] = std::min({d[i - 1][j] + 1, d[i][j - 1] + 1, d[i - 1][j - 1] + (same ? 0u : 1u)});
      if (i > 1 && j > 1 && from[i - 1] == to[j - 2] && from[i - 2] == to[j - 1])
        d[i][j] = std::min(d[i][j], d[i - 2][j - 2] + 1);
    }
  }
  return d[from.size()][to.size()];
}

}  // namespace

std::optional<std::string> nearest(std::string_view word,
                                   const std::vector<std::string>& candidates) {
  if (word.size() > longest_word) return std::nullopt;
  std::optional<std::string> best;
  // Half of a short word changed is another word.
  std::size_t least = std::min(most_edits, word.size() / 2) + 1;
  for (const std::string& candidate : candidates) {
    if (candidate.size() > word.size() + most_edits || word.size() > candidate.size() + most_edits)
      continue;
    const std::size_t edits = distance(word, candidate);
    if (edits == 0 || edits >= least || edits >= candidate.size()) continue;
    least = edits;
    best = candidate;
  }
  return best;
}

std::string did_you_mean(std::string_view word, const std::vector<std::string>& candidates) {
  const auto meant = nearest(word, candidates);
  return meant ? "; did you mean " + quote(*meant) + "?" : std::string();
}

}  // namespace vf
