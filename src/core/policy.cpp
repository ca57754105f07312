// SPDX-License-Identifier: LGPL-2.1-or-later

#include "core/policy.h"

#include <algorithm>

namespace vf {

std::string Policy::origin(std::string_view group, std::string_view key) const {
  const auto file = files.find({std::string(group), std::string(key)});
  std::string text = '[' + std::string(group) + "] " + std::string(key);
  return text + (file == files.end() ? ", by default" : " in " + file->second);
}

bool Policy::allows(const IpAddress& host_address) const {
  if (host_address.is_loopback()) return true;
  return std::any_of(host_addresses.begin(), host_addresses.end(), [&](const IpAddress& allowed) {
    return allowed == host_address ||
           (allowed.is_wildcard() && allowed.is_v4() == host_address.is_v4());
  });
}

bool Policy::allows(Port host_port) const {
  return std::any_of(host_ports.begin(), host_ports.end(),
                     [&](const PortRange& range) { return range.contains(host_port); });
}

bool Policy::allows(Transport transport) const {
  return transport == Transport::automatic ||
         std::find(transports.begin(), transports.end(), transport) != transports.end();
}

bool Policy::allows(Offload offload) const {
  return offload == Offload::automatic || offload == Offload::none ||
         std::find(offloads.begin(), offloads.end(), offload) != offloads.end();
}

std::optional<std::string> Policy::place(const std::string& host_socket) const {
  if (socket_directories.empty()) return std::nullopt;
  return socket_directories.front() + '/' + host_socket;
}

Result<void> check(const Policy& policy, const ForwardDefinition& forward) {
  if (forward.host_address && !policy.allows(*forward.host_address))
    return Unexpected(ErrorCode::not_allowed, "host address " + forward.host_address->text() +
                                                  " is not allowed by this host (" +
                                                  policy.origin("host", "addresses") + ")");
  if (const auto* ports = std::get_if<PortRange>(&forward.host))
    for (std::uint32_t offset = 0; offset < ports->width(); ++offset)
      if (!policy.allows(ports->at(offset)))
        return Unexpected(ErrorCode::not_allowed, "host port " +
                                                      std::to_string(ports->at(offset).number()) +
                                                      " is not allowed by this host (" +
                                                      policy.origin("host", "ports") + ")");
  if (!policy.allows(forward.transport))
    return Unexpected(ErrorCode::not_allowed, "transport " + std::string(text(forward.transport)) +
                                                  " is not allowed by this host (" +
                                                  policy.origin("host", "transports") + ")");
  if (!policy.allows(forward.offload))
    return Unexpected(ErrorCode::not_allowed, "offload " + std::string(text(forward.offload)) +
                                                  " is not allowed by this host (" +
                                                  policy.origin("host", "offloads") + ")");
  const auto* socket = std::get_if<SocketPath>(&forward.host);
  if (socket && !policy.place(socket->path))
    return Unexpected(ErrorCode::not_allowed, "host socket " + socket->path +
                                                  " is in no directory that this host allows (" +
                                                  policy.origin("host", "socket-directories") +
                                                  ")");
  return {};
}

}  // namespace vf
