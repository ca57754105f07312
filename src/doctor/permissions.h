// SPDX-License-Identifier: LGPL-2.1-or-later
//
// Whether this user may do with the system daemon what the command line does.

#pragma once

#include <string>
#include <vector>

#include "doctor/finding.h"
#include "doctor/reading.h"

namespace vf {

// What polkit says of one action, for this process.
struct PolkitAnswer {
  std::string action;  // "org.virtforward1.read"
  bool known = true;   // polkit knows the action
  bool authorized = false;
  bool challenge = false;  // not before a password is given
};
void judge_polkit(const std::string& user, const Result<std::vector<PolkitAnswer>>& answers,
                  Findings& findings);
Result<std::vector<PolkitAnswer>> ask_polkit();

}  // namespace vf
