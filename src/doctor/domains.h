// SPDX-License-Identifier: LGPL-2.1-or-later
//
// What is wrong with domains, their metadata, their guests and their forwards, as the daemon tells.

#pragma once

#include "doctor/finding.h"
#include "doctor/seen.h"

namespace vf {

void judge_domain(const SeenDomain& seen, Findings& findings);

}  // namespace vf
