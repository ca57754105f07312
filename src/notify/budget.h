// SPDX-License-Identifier: LGPL-2.1-or-later

#pragma once

#include <algorithm>
#include <cstdint>

namespace vf {

// So many at once, then one each `refill`. Knows no clock: moments are microseconds of any.
class Budget {
 public:
  using Moment = std::int64_t;

  constexpr Budget(int burst, Moment refill) : slack_((burst - 1) * refill), refill_(refill) {}

  // The first moment at which there is one to take.
  constexpr Moment next() const { return paid_until_ - slack_; }
  constexpr bool has(Moment now) const { return next() <= now; }
  constexpr void take(Moment now) { paid_until_ = std::max(paid_until_, now) + refill_; }
  constexpr bool full(Moment now) const { return paid_until_ <= now; }

 private:
  Moment slack_;
  Moment refill_;
  Moment paid_until_ = INT64_MIN / 2;
};

}  // namespace vf
