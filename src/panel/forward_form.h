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
  // `definition` with these changes.
  static Attributes changed(const ForwardDefinition& definition, const Attributes& changes);
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

// How long a forward is kept, and which definitions an edit changes for that.
enum class Span { this_run, always };

struct Keeping {
  Span span = Span::this_run;
  bool defined = true;  // the machine has a definition for its next start
  bool edited = false;  // the forward is there, in the running machine
  bool saved = false;   // and in that definition

  // Of the edit. What is kept for always is in the running machine as well.
  EditFlags flags() const;
  // It is put into the definition, where it is not yet.
  bool saves() const { return edited && !saved && span == Span::always; }
  std::string text() const;
};

// For what dry-run answered.
Verdict verdict(const Result<std::vector<AddedForward>>& answer);

}  // namespace vf::panel
