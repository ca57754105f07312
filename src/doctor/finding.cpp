// SPDX-License-Identifier: LGPL-2.1-or-later

#include "doctor/finding.h"

#include <algorithm>

#include "base/text.h"
#include "client/json.h"

namespace vf {

std::string_view text(Severity severity) {
  switch (severity) {
    case Severity::error:
      return "error";
    case Severity::warning:
      return "warning";
    case Severity::note:
      return "note";
    case Severity::not_checked:
      break;
  }
  return "not-checked";
}

bool any_wrong(const Findings& findings) {
  return std::ranges::any_of(findings, [](const Finding& finding) {
    return finding.severity == Severity::error || finding.severity == Severity::warning;
  });
}

std::string json_findings(const Findings& findings) {
  std::string array = "[";
  for (const Finding& finding : findings) {
    if (array.size() > 1) array += ',';
    array += '\n' + json_texts({{"id", std::string(text(finding.id))},
                                {"severity", std::string(text(finding.severity))},
                                {"subject", finding.subject},
                                {"message", finding.message},
                                {"fix", finding.fix}});
  }
  return array + (findings.empty() ? "]\n" : "\n]\n");
}

}  // namespace vf
