// SPDX-License-Identifier: LGPL-2.1-or-later
//
// Programs of ours that outlive the daemon (relay, ssh's supervisor), where no service manager runs
// them.

#pragma once

#include <sys/types.h>

#include <string>
#include <vector>

#include "base/fd.h"
#include "base/result.h"

namespace vf {

// A directory that the program's user is to have: made where it is missing, its owner and mode set.
struct ServiceDirectory {
  std::string path;
  mode_t mode = 0700;
};

struct ServiceProcess {
  std::string program;
  std::string socket_path;
  std::string user;                         // empty: the caller's own
  std::vector<std::string> arguments = {};  // behind --control-fd
  std::vector<ServiceDirectory> directories = {};
};

// Starts a program that outlives its starter: in a session of its own, a child of init, with
// standard error inherited and without privileges. Makes the control socket at `socket_path` (mode
// 0600, SOCK_SEQPACKET) in place of a stale one; it takes connections when this returns. An Error
// where the program could not be executed or the user not taken on.
Result<void> start_service(const ServiceProcess& process);

// Connects to a control socket. `error_number` tells ENOENT or ECONNREFUSED (nobody serves it) from
// the rest.
Fd connect_to_service(const std::string& socket_path, int& error_number);

// Both: connects, after starting the program where nobody serves the socket and it has a name.
Result<Fd> connect_or_start(const ServiceProcess& process);

}  // namespace vf
