// SPDX-License-Identifier: LGPL-2.1-or-later

#pragma once

#include <string>

#include "cli/verb.h"

namespace vf {

// Says why a forward or a port of a domain is as it is; the exit status. `what` is a port of the
// guest or of the host ("8080", "53/udp"), or a forward as match_forward() has it.
int explain_forward(const Call& call, const std::string& domain, const std::string& what);

}  // namespace vf
