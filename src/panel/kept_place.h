// SPDX-License-Identifier: LGPL-2.1-or-later
//
// Which row is selected, and has the keyboard, when the list has changed. Who is at a row stays
// there. A row that goes may come back in a moment, as a port does that is blocked: its forward
// goes first. Who was there and has not moved is taken back. Pure.

#pragma once

#include <chrono>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace vf::panel {

struct Place {
  std::string key;              // of the selected row; empty: none
  const void* focus = nullptr;  // the widget in the list that has the keyboard; null: none has
  bool operator==(const Place&) const = default;
};

class KeptPlace {
 public:
  using Time = std::chrono::steady_clock::time_point;
  static constexpr std::chrono::seconds patience{30};

  struct Goal {
    std::string key;
    bool focus = false;  // the keyboard goes there as well
    bool operator==(const Goal&) const = default;
  };

  // The list has the keys `before` and is about to have those of `after`. The row that is to be
  // selected then; none: nobody is at a row, or whose it was is gone.
  std::optional<Goal> goal(const Place& at, const std::vector<std::string_view>& before,
                           const std::vector<std::string_view>& after, Time now);
  // Where that has led. Whoever is somewhere else the next time has gone there himself.
  void settle(Place at) { settled_ = std::move(at); }

 private:
  struct Lost {
    Goal goal;
    Time since;
  };
  Place settled_;
  std::optional<Lost> lost_;
};

}  // namespace vf::panel
