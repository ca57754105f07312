// SPDX-License-Identifier: LGPL-2.1-or-later

#pragma once

#include <string>

#include "base/result.h"

namespace vf {

// By the program of the desktop (wl-copy, xclip, xsel), which stays to serve the clipboard.
// NotSupported where there is no desktop or none of them; the failure says what is missing.
Result<void> copy_to_desktop(const std::string& text);

}  // namespace vf
