// SPDX-License-Identifier: LGPL-2.1-or-later
//
// What two programs may do to each other over a connection, by chance, and the judgement of what
// each of them sees.
//
// A Script says what one end sends, in steps of which sizes, and how it ends: with its direction in
// order, before or after it has read the other's end, or by a reset in the middle. An End plays it
// and compares every byte that it receives with what the other's script sends. transfer() plays
// both ends of a connection and returns what was wrong.
//
//   all arrives, then the end      where nobody resets
//   a prefix arrives, then an error   where the other end resets; never an orderly end

#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <random>
#include <string>
#include <string_view>

#include "base/fd.h"

namespace vf::test {

using Random = std::mt19937_64;

// Bytes that differ at every offset that is near: where in it a stream begins is its identity.
std::string_view stream(std::uint64_t begin, std::uint64_t offset, std::size_t length);

struct Script {
  std::uint64_t bytes = 0;
  std::uint64_t begin = 0;         // of its stream
  std::size_t max_step = 1 << 20;  // of a write
  bool waits_for_end = false;      // sends its second half after it has read the other's end
  bool reads_late = false;         // only when the other cannot write
  std::optional<std::uint64_t> reset_at{};  // after so many bytes
  std::string text() const;
};

// At most one of the two waits for the other's end.
struct Scripts {
  Script client;
  Script server;
};
Scripts random_scripts(Random& random);

enum class Tolerance {
  none,
  resets,  // any connection may be reset; what it carried until then is right all the same
};

struct Verdict {
  std::string wrong;       // empty when nothing is
  bool was_reset = false;  // though no script has it
};
Verdict transfer(Fd client, Fd server, const Scripts& scripts, Random& random,
                 Tolerance tolerance = Tolerance::none);

}  // namespace vf::test
