// SPDX-License-Identifier: LGPL-2.1-or-later

#include "cli/added.h"

#include "base/printable.h"
#include "cli/output.h"
#include "glib/object_path.h"

namespace vf {

std::vector<ForwardView> views_of(const Daemon& daemon, const std::vector<AddedForward>& added) {
  std::vector<ForwardView> views;
  for (const AddedForward& forward : added) {
    const auto properties = daemon.properties(forward.path, forward_interface);
    if (properties) views.push_back(forward_view(*properties));
  }
  return views;
}

std::vector<PortGot> ports_of(const std::vector<AddedForward>& added) {
  std::vector<PortGot> ports;
  for (const AddedForward& forward : added)
    ports.push_back({forward.requested_port, forward.host_port});
  return ports;
}

void print_ports(const Daemon& daemon, const std::vector<AddedForward>& added) {
  for (const AddedForward& forward : added)
    if (forward.host_port) print(std::to_string(forward.host_port->number()) + '\n');
  for (const ForwardView& view : views_of(daemon, added))
    if (view.live && !view.host_socket.empty()) print(printable(view.host_socket) + '\n');
}

}  // namespace vf
