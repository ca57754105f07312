// SPDX-License-Identifier: LGPL-2.1-or-later

#pragma once

#include <string>

#include "transport/ssh_tunnels.h"

namespace vf {

// virt-forward-ssh, as the daemon starts it where no service manager does.
struct SshProgram {
  std::string program;            // empty: it is never started
  std::string socket_path;        // its control socket
  std::string user;               // that it runs as; empty: the daemon's own
  std::string sockets_directory;  // where tunnels begin; made, for the user and his group
  std::string state_directory;    // for host keys; made, also above it
  bool own_keys = false;          // of a session: where no key is named, those of its user
};

SshTunnels::Connect connector(SshProgram service);

}  // namespace vf
