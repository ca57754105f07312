// SPDX-License-Identifier: LGPL-2.1-or-later
//
// What is typed into the dialog, as attributes of a <forward>, and what a daemon says to it. Pure.

#pragma once

#include <string>
#include <utility>
#include <vector>

#include "client/daemon.h"
#include "core/definition.h"

namespace vf::panel {

using Attributes = std::vector<std::pair<std::string, std::string>>;

struct ForwardForm {
  std::string guest_port;
  std::string host_port;  // empty: any
  Protocol protocol = Protocol::tcp;
  std::string label;
  std::string host_address;  // empty: localhost
  Transport transport = Transport::automatic;
  // Of a definition that has them instead of ports. They are shown, and stay.
  std::string guest_socket;
  std::string host_socket;

  // What is not given is left out.
  Attributes attributes() const;
  // What differs from `before`, empty where it is not given any more, as Domain.ChangeForward takes
  // it.
  Attributes changes(const ForwardForm& before) const;
  // Listens elsewhere, so that something could be in its way.
  bool moves(const ForwardForm& before) const;
  // By the daemon's own rules; InvalidArgument.
  Result<void> check() const;
};

ForwardForm form_of(const ForwardDefinition& definition);

struct Verdict {
  enum class Kind { unknown, good, moved, wrong } kind = Kind::unknown;
  std::string text;
};

// For what dry-run answered.
Verdict verdict(const Result<std::vector<AddedForward>>& answer);

}  // namespace vf::panel
