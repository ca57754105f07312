// SPDX-License-Identifier: LGPL-2.1-or-later
//
// Where metrics may be asked for: a unix socket, whose mode says who may, and TCP on a loopback
// address, where everybody on this host may. Any other address is refused by name: metrics name the
// guests and tell what they do.

#pragma once

#include <optional>
#include <string>
#include <vector>

#include "base/result.h"
#include "base/socket_file.h"

namespace vf {

struct Listening {
  Fd socket;
  bool tcp = false;
  std::string name = {};                // "/run/...", "127.0.0.1:9100"
  std::optional<SocketFile> file = {};  // one that we made
};

// "/run/metrics.sock" (made with mode 0660), "127.0.0.1:9100" or "[::1]:9100".
Result<Listening> listen_at(const std::string& place);

// What a service manager has passed, all of it.
Result<std::vector<Listening>> inherited_listeners();
// One of them.
Result<Listening> take_listener(Fd socket);

}  // namespace vf
