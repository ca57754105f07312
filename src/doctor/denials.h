// SPDX-License-Identifier: LGPL-2.1-or-later
//
// What AppArmor and SELinux forbade the hook, or libvirt about it, as the logs tell.

#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "base/error.h"
#include "doctor/finding.h"

namespace vf {

struct DenialFacts {
  std::string log;   // lines of kernel log, journal and audit log
  bool any = false;  // some log could be read
  std::vector<Error> unread;
};

void judge_denials(const DenialFacts& facts, Findings& findings);
DenialFacts read_denials();

}  // namespace vf
