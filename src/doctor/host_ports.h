// SPDX-License-Identifier: LGPL-2.1-or-later

#pragma once

#include "doctor/finding.h"
#include "doctor/port_holder.h"
#include "doctor/seen.h"

namespace vf {

// Forwards whose host port somebody else has.
void judge_host_ports(const Seen& seen, const PortHolders& holders, Findings& findings);

}  // namespace vf
