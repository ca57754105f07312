// SPDX-License-Identifier: LGPL-2.1-or-later

#pragma once

#include <string>

#include "doctor/finding.h"
#include "doctor/seen.h"

namespace vf {

// Of the findings, in their order, with spaces between.
inline std::string ids(const Findings& findings) {
  std::string list;
  for (const Finding& finding : findings)
    list += (list.empty() ? "" : " ") + std::string(text(finding.id));
  return list;
}

inline SeenDaemon healthy() {
  return {.title = "the system daemon",
          .uri = "qemu:///system",
          .start = "start it",
          .system = true,
          .silent = {},
          .version = "0.1.0",
          .libvirt_connected = true,
          .relay_connected = true};
}

}  // namespace vf
