// SPDX-License-Identifier: LGPL-2.1-or-later
//
// The JSON of the command line. Keys and their order are frozen in the design; what is unknown has
// no key.

#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "core/forward_view.h"

namespace vf {

struct CountedForward {
  ForwardView forward;
  std::optional<ForwardCounters> counters;
};

// One line without its end. Characters that a terminal would act on are written as \uXXXX.
std::string json_forward(const CountedForward& forward);
// {"event":EVENT,"forward":{...}}: one line without its end.
std::string json_event(std::string_view event, const ForwardView& forward);
// An array with one forward a line, and the end of the last line.
std::string json_forwards(const std::vector<CountedForward>& forwards);

}  // namespace vf
