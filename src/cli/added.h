// SPDX-License-Identifier: LGPL-2.1-or-later
//
// What verbs tell of forwards that the daemon has just made or changed.

#pragma once

#include <vector>

#include "cli/taken.h"
#include "client/daemon.h"

namespace vf {

// What they look like; those that are gone again are left out.
std::vector<ForwardView> views_of(const Daemon& daemon, const std::vector<AddedForward>& added);

std::vector<PortGot> ports_of(const std::vector<AddedForward>& added);

// Prints the ports, or the path of the socket, that the host really uses.
void print_ports(const Daemon& daemon, const std::vector<AddedForward>& added);

}  // namespace vf
