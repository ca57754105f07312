// SPDX-License-Identifier: LGPL-2.1-or-later

#pragma once

#include <cstdint>
#include <optional>
#include <string>

namespace vf {

// When the hook was last heard, kept past this daemon's end as the time of an empty file. It may be
// lost: then it is not known.
class HookMark {
 public:
  // An empty path keeps nothing.
  explicit HookMark(std::string path) : path_(std::move(path)) {}

  // Unix time, seconds.
  std::optional<std::int64_t> last() const;
  void set();

 private:
  std::string path_;
};

}  // namespace vf
