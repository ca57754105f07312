// SPDX-License-Identifier: LGPL-2.1-or-later
//
// What is typed into the dialog, as attributes of a <forward>, and what a daemon says to it. Pure.

#pragma once

#include <string>
#include <utility>
#include <vector>

#include "client/daemon.h"

namespace vf::panel {

using Attributes = std::vector<std::pair<std::string, std::string>>;

struct ForwardForm {
  std::string guest_port;
  std::string host_port;  // empty: any
  Protocol protocol = Protocol::tcp;
  std::string label;

  // What is not given is left out.
  Attributes attributes() const;
  // All of them, empty where not given, as Domain.ChangeForward takes them.
  Attributes changes() const;
  // By the daemon's own rules; InvalidArgument.
  Result<void> check() const;
};

struct Verdict {
  enum class Kind { unknown, good, moved, wrong } kind = Kind::unknown;
  std::string text;
};

// For what dry-run answered.
Verdict verdict(const Result<std::vector<AddedForward>>& answer);

}  // namespace vf::panel
