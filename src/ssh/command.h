// SPDX-License-Identifier: LGPL-2.1-or-later
//
// Command lines of OpenSSH's client. All that a guest, its metadata or the host policy chose goes
// through here, and comes out as one argument's plain value: never an option, a command, a variable
// or a "%" token.

#pragma once

#include <string>
#include <vector>

#include "base/relay_endpoint.h"
#include "base/result.h"

namespace vf {

using Arguments = std::vector<std::string>;

// What one master is started with.
struct MasterCommand {
  std::string ssh;           // program
  std::string own_program;   // that connects to vsock for it (vsock_connect.h)
  std::string control_path;  // of its control socket
  std::string known_hosts;   // file
  std::string uuid;
  RelayEndpoint destination;  // Endpoint or VsockEndpoint
  std::string user;
  std::string key_path;  // empty: the user's own keys and agent
};

// An Error for what cannot be said to ssh: a "${", or a quote where there may be none.
Result<Arguments> master_arguments(const MasterCommand& command);

enum class ForwardOperation { forward, cancel };

// Adds a forward to a running master, or takes it away again: from a unix socket at `path` to
// `target` in the guest.
Result<Arguments> forward_arguments(const std::string& ssh, ForwardOperation operation,
                                    const std::string& control_path, const std::string& path,
                                    const AgentEndpoint& target);

// As ssh's log spells where a forward goes: "localhost port 80", "/run/a.sock port -2".
std::string log_spelling(const AgentEndpoint& target);

// Environment of ssh: nothing that would have it ask or run something else. `own_keys`: the user's
// agent is his.
std::vector<std::string> ssh_environment(bool own_keys);

}  // namespace vf
