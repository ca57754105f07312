// SPDX-License-Identifier: LGPL-2.1-or-later

#pragma once

#include <string>

#include "cli/daemons.h"
#include "cli/verb.h"

namespace vf {

// What the daemon shows of the domain's ports after an edit, where JSON is wanted. Exit status.
int show_ports_json(const Daemons& daemons, const std::string& domain, const Call& call);

}  // namespace vf
