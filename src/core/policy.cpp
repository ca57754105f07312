// SPDX-License-Identifier: LGPL-2.1-or-later

#include "core/policy.h"

#include <algorithm>

namespace vf {
namespace {

constexpr char not_allowed[] = " is not allowed by this host";

// `wanted`: what to put there, "it".
Unexpected refused(const Policy& policy, const std::string& what, const std::string& key,
                   const std::string& wanted = "it") {
  const bool set = policy.files.contains({"host", key});
  return Unexpected(ErrorCode::not_allowed,
                    what + " (" + policy.origin("host", key) + "); to allow it, " +
                        (set ? "add " + wanted + " there"
                             : "name " + wanted + " as [host] " + key + " in " + policy.main_file) +
                        " and reload virt-forwardd, see virt-forward.conf(5)");
}

}  // namespace

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
    return refused(policy, "host address " + forward.host_address->text() + not_allowed,
                   "addresses");
  if (const auto* ports = std::get_if<PortRange>(&forward.host))
    for (std::uint32_t offset = 0; offset < ports->width(); ++offset)
      if (!policy.allows(ports->at(offset)))
        return refused(policy,
                       "host port " + std::to_string(ports->at(offset).number()) + not_allowed,
                       "ports");
  if (!policy.allows(forward.transport))
    return refused(policy, "transport " + std::string(text(forward.transport)) + not_allowed,
                   "transports");
  if (!policy.allows(forward.offload))
    return refused(policy, "offload " + std::string(text(forward.offload)) + not_allowed,
                   "offloads");
  const auto* socket = std::get_if<SocketPath>(&forward.host);
  if (socket && !policy.place(socket->path))
    return refused(policy,
                   "host socket " + socket->path + " is in no directory that this host allows",
                   "socket-directories", "one");
  return {};
}

}  // namespace vf
