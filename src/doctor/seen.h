// SPDX-License-Identifier: LGPL-2.1-or-later
//
// What the daemons said of themselves and of their domains, as values: what most checks judge.

#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "base/error.h"
#include "core/forward_view.h"
#include "doctor/words.h"

namespace vf {

struct SeenDomain {
  DomainView domain;
  std::vector<ForwardView> forwards;
  std::vector<PortView> ports;
  // Of the running domain and of its next start; only where wants_metadata() and it could be read.
  SeenMetadata live;
  SeenMetadata config;
};

// Whether something is wrong with the domain that only its metadata tells how to mend.
bool wants_metadata(const SeenDomain& seen);

struct SeenDaemon {
  std::string title;  // "the system daemon"
  std::string uri;    // that it serves; empty where it does not answer and is not known
  std::string start;  // the command that starts it; may be empty
  bool system = false;
  std::optional<Error> silent;  // it does not answer; nothing below is known then
  std::string version;
  bool libvirt_connected = false;
  bool relay_connected = false;
  std::optional<std::int64_t> hook_heard;  // Unix time, seconds
  std::optional<Error> no_objects;         // it answers, but does not show its domains
  std::vector<SeenDomain> domains;         // those asked for
};

struct Seen {
  std::vector<SeenDaemon> daemons;
  bool root = false;  // who asks
};

}  // namespace vf
