// SPDX-License-Identifier: LGPL-2.1-or-later

#pragma once

#include <chrono>
#include <optional>
#include <string>

#include "daemon/bus_service.h"

namespace vf {

struct Settings {
  std::string uri;
  std::string runtime_directory;
  std::string policy_directory;
  std::string state_directory;
  std::string relay_program;  // empty: none is started
  std::string relay_user;
  std::string ssh_program;  // empty: none is started
  std::string ssh_user;
  std::string agent_directory;
  BusService::Bus bus = BusService::Bus::none;
  std::optional<std::chrono::seconds> exit_when_idle;
  bool clear_offloads = false;  // that alone, and end

  // Whether the guests are an ordinary user's own.
  bool session() const { return uri.ends_with("/session"); }
};

// Those of the command line; ends the program for --help, --version and wrong usage.
Settings read_command_line(int argc, char** argv);

}  // namespace vf
