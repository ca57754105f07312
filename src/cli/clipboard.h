// SPDX-License-Identifier: LGPL-2.1-or-later

#pragma once

#include <string>

#include "base/result.h"

namespace vf {

// To the desktop's clipboard, else by asking the terminal (OSC 52), which works over ssh too. The
// failure says what is missing.
Result<void> copy_to_clipboard(const std::string& text);

}  // namespace vf
