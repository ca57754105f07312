// SPDX-License-Identifier: LGPL-2.1-or-later

#pragma once

#include <string>

#include "base/fd.h"
#include "base/result.h"

namespace vf {

struct RelayProcess {
  std::string program;
  std::string socket_path;
  std::string user;  // empty: the caller's own
};

// Starts a relay that outlives its starter: in a session of its own, a child of init, with standard
// error inherited and without privileges. Makes the control socket at `socket_path` (mode 0600) in
// place of a stale one; it takes connections when this returns. An Error where the program could
// not be executed or the user not taken on.
Result<void> start_relay(const RelayProcess& process);

// Connects to a relay's control socket. `error_number` tells ENOENT or ECONNREFUSED (no relay) from
// the rest.
Fd connect_to_relay(const std::string& socket_path, int& error_number);

}  // namespace vf
