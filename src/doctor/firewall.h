// SPDX-License-Identifier: LGPL-2.1-or-later
//
// Rules that keep forwards' packets from their way. Looked at are the ways of the relay's
// connections: from this host to the guest, back, and from clients to the host port. Families
// "bridge" and "netdev" are not.

#pragma once

#include <map>
#include <string>
#include <vector>

#include "doctor/finding.h"
#include "doctor/ruleset.h"
#include "doctor/seen.h"

namespace vf {

struct FirewallFacts {
  std::vector<FilterTable> tables;
  std::map<std::string, std::vector<IpAddress>> links;  // this host's addresses on its links
  std::vector<Error> unread;                            // what could not be looked at
};

void judge_firewall(const Seen& seen, const FirewallFacts& facts, Findings& findings);
FirewallFacts read_firewall();

}  // namespace vf
