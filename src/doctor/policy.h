// SPDX-License-Identifier: LGPL-2.1-or-later
//
// The host policy, as a daemon of this host would read it.

#pragma once

#include "doctor/finding.h"
#include "policy/policy_file.h"

namespace vf {

// `restart`: the command that makes the daemon read it again, or start.
void judge_policy(const std::vector<PolicyProblem>& problems, const std::string& restart,
                  Findings& findings);

}  // namespace vf
