// SPDX-License-Identifier: LGPL-2.1-or-later
//
// The host policy: virt-forward.conf and the drop-ins beside it, as GKeyFile. See
// virt-forward.conf(5).

#pragma once

#include <string>
#include <vector>

#include "core/policy.h"

namespace vf {

struct PolicyProblem {
  std::string file;
  std::string what;  // "[group] key: what is wrong"
  bool unreadable = false;
  std::string text() const { return file + ": " + what; }
};

struct LoadedPolicy {
  Policy policy;
  // Where there are any, use nothing of `policy`: it may allow what was to be forbidden.
  std::vector<PolicyProblem> problems;
};

// `directory` holds virt-forward.conf and virt-forward.conf.d/*.conf, read in byte order, later
// settings replacing earlier ones. Files that are not there are no problem. What no file says is as
// in `defaults`.
LoadedPolicy load_policy(const std::string& directory, Policy defaults = {});

}  // namespace vf
