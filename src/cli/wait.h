// SPDX-License-Identifier: LGPL-2.1-or-later

#pragma once

#include <chrono>
#include <vector>

#include "client/daemon.h"

namespace vf {

inline constexpr std::chrono::seconds default_wait{60};

// Waits until all of `forwards` are active: the guest has an address and, where something in it
// can tell, its service listens. Exit status: 0, or said with the reason: 1 after `timeout` (0: no
// limit) and for a forward that failed or went away, 5 port busy, 6 denied, 7 daemon gone.
int wait_until_reachable(const Daemon& daemon, const std::vector<AddedForward>& forwards,
                         std::chrono::seconds timeout);

}  // namespace vf
