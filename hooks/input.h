// SPDX-License-Identifier: LGPL-2.1-or-later

#pragma once

#include <cstddef>
#include <string>

#include "hooks/deadline.h"

namespace vf {

struct Input {
  std::string text;
  bool complete = false;  // the end was read: in time, without an error, within the limit
};

// Reads `fd`, whose flags stay as they are, to its end.
Input read_input(int fd, std::size_t limit, const Deadline& deadline);

}  // namespace vf
