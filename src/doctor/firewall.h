// SPDX-License-Identifier: LGPL-2.1-or-later
//
// Rules that keep forwards' packets from their way. Looked at are the ways of the relay's
// connections: from this host to the guest, back, and from clients to the host port. Of the way
// through a bridge, its port that leads to the guest.

#pragma once

#include <map>
#include <string>
#include <vector>

#include "doctor/finding.h"
#include "doctor/ruleset.h"
#include "doctor/seen.h"

namespace vf {

// What the host knows of the way to a neighbour.
struct Neighbour {
  std::string mac;   // in small letters; empty: unknown
  std::string port;  // of the bridge that it is behind; empty: unknown
};

struct FirewallFacts {
  std::vector<FilterTable> tables;
  std::map<std::string, std::vector<IpAddress>> links;      // this host's addresses on its links
  std::map<std::string, std::vector<std::string>> bridges;  // and the ports of those
  std::map<std::pair<std::string, IpAddress>, Neighbour> neighbours;  // by link and address
  std::vector<Error> unread;                                          // what could not be looked at
};

void judge_firewall(const Seen& seen, const FirewallFacts& facts, Findings& findings);
FirewallFacts read_firewall();

}  // namespace vf
