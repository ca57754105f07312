// SPDX-License-Identifier: LGPL-2.1-or-later

#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "doctor/finding_id.h"

namespace vf {

// `note`: it is as somebody asked for, and may not be what another one expects. `not_checked`: it
// could not be looked at, so nothing is known, good or bad.
enum class Severity { error, warning, note, not_checked };

// "error", "warning", "note", "not-checked".
std::string_view text(Severity severity);

// One thing that is wrong, or worth to know.
struct Finding {
  FindingId id = FindingId::daemon;
  Severity severity = Severity::error;
  std::string subject;  // what it is about: a domain, a program, a file
  std::string message;  // one sentence
  std::string fix;      // commands or XML lines that mend it, or let it be looked at
  friend bool operator==(const Finding&, const Finding&) = default;
};

using Findings = std::vector<Finding>;

// Whether something is known to be wrong.
bool any_wrong(const Findings& findings);

// An array with one finding a line, and the end of the last line.
std::string json_findings(const Findings& findings);

}  // namespace vf
