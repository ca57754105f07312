// SPDX-License-Identifier: LGPL-2.1-or-later

#include "daemon/ssh_program.h"

#include <glib.h>

#include <cerrno>
#include <filesystem>
#include <utility>

#include "daemon/service_process.h"

namespace vf {

SshTunnels::Connect connector(SshProgram service) {
  ServiceProcess process{
      service.program,
      service.socket_path,
      service.user,
      {"--sockets=" + service.sockets_directory, "--state=" + service.state_directory},
      {{service.sockets_directory, 0750}, {service.state_directory, 0700}}};
  if (service.own_keys) process.arguments.emplace_back("--own-keys");
  const std::string above = std::filesystem::path(service.state_directory).parent_path();
  return [process = std::move(process), above](bool start) -> Result<Fd> {
    if (start) {
      if (!process.program.empty() && g_mkdir_with_parents(above.c_str(), 0755) < 0)
        return Unexpected(system_error(errno, above));
      return connect_or_start(process);
    }
    int error_number = 0;
    Fd socket = connect_to_service(process.socket_path, error_number);
    if (!socket && error_number != ENOENT && error_number != ECONNREFUSED)
      return Unexpected(system_error(error_number, process.socket_path));
    return socket;
  };
}

}  // namespace vf
