// SPDX-License-Identifier: LGPL-2.1-or-later

#pragma once

#include <chrono>
#include <functional>
#include <string>

#include "hooks/deadline.h"

namespace vf {

// In all, from the start of the process to its end.
inline constexpr std::chrono::milliseconds hook_budget{250};
// For handing over a message that wants no answer: a start has three of them, and a daemon that
// does not take them gets what it missed from libvirt.
inline constexpr std::chrono::milliseconds notice_budget{50};
inline constexpr std::size_t max_domain_bytes = 16 << 20;

struct Invocation {
  std::string domain;     // first argument
  std::string operation;  // second argument
  int input = 0;          // the domain's XML
  std::string socket_path;
  Deadline deadline;
  // Called when this run turns out to be one that must not end in success by accident.
  std::function<void()> on_required;
  // Tell of domains without metadata of ours, too: a session forwards their ports by default, and
  // this may be what starts its daemon.
  bool every_domain = false;
};

struct Outcome {
  int status = 0;         // 1 only for a refusal at prepare
  std::string complaint;  // for stderr, printable, without newline; set when status is 1
  std::string log;        // empty: nothing to log
  bool severe = false;    // the log line tells of something that went wrong
};

Outcome run_hook(const Invocation& invocation);

}  // namespace vf
