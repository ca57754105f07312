// SPDX-License-Identifier: LGPL-2.1-or-later
//
// Host ports that are others than those that were asked for.

#pragma once

#include <optional>
#include <string>
#include <vector>

#include "base/port.h"

namespace vf {

struct PortGot {
  std::optional<Port> requested;  // absent: any
  std::optional<Port> got;        // absent: none yet
};

// "8080 is taken; using 8081", and in one line "8080-8082 is not free; using 8081-8083". `instead`:
// the words between.
std::vector<std::string> taken_words(const std::vector<PortGot>& ports, const char* instead);

}  // namespace vf
