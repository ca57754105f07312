// SPDX-License-Identifier: LGPL-2.1-or-later
//
// The JSON of forward_file.h.

#pragma once

#include "cli/forward_file.h"

namespace vf {

// Appends what it finds, good and bad.
void read_json_forwards(std::string_view text, ForwardFile& file);

}  // namespace vf
