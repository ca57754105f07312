// SPDX-License-Identifier: LGPL-2.1-or-later

#pragma once

#include <string>

#include "base/port.h"
#include "core/vocabulary.h"

namespace vf {

// A port of a guest that a person may want to know of.
struct News {
  enum class Kind { forwarded, asking };

  Kind kind = Kind::forwarded;
  std::string daemon;       // which one's: DaemonLink's name
  std::string path;         // object of the port
  std::string domain_path;  // object of the domain
  std::string domain;       // its name
  Protocol protocol = Protocol::tcp;
  Port port = *Port::from(1);
  std::string process;  // its name as the guest tells it; empty: unknown
  std::string url;      // empty while it is asking
  bool notify = true;   // the rule's
  bool open = false;

  // Unique, and the same for the port's whole life.
  std::string key() const { return daemon + '\n' + path; }
};

}  // namespace vf
