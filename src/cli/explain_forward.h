// SPDX-License-Identifier: LGPL-2.1-or-later

#pragma once

#include <string>

#include "cli/verb.h"

namespace vf {

// Prints by which ways a forward of a domain is served and why the others are not taken; the exit
// status. `name` as match_forward() has it.
int explain_forward(const Call& call, const std::string& domain, const std::string& name);

}  // namespace vf
