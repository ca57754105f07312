// SPDX-License-Identifier: LGPL-2.1-or-later

#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/result.h"
#include "core/definition.h"

namespace vf {

// What the host allows. What it forbids no metadata allows. The values here are the defaults of a
// host without a policy file.
struct Policy {
  std::vector<IpAddress> host_addresses;  // besides loopback; a wildcard allows all of its family
  std::vector<PortRange> host_ports{*PortRange::from(*Port::from(1), *Port::from(65535))};
  std::vector<std::string> socket_directories;
  std::vector<Transport> transports{Transport::tcp, Transport::vsock, Transport::ssh,
                                    Transport::usernet};  // ways to guests
  std::vector<Offload> offloads{Offload::redirect, Offload::nftables};
  std::uint32_t forwards_per_domain = 1024;
  std::uint32_t connections_per_forward = 4096;
  std::uint32_t connections_per_domain = 16384;    // of all its forwards together
  std::uint32_t automatic_ports_per_domain = 256;  // forwarded by themselves
  bool automatic = false;                          // for domains that do not say
  std::map<std::string, std::string> ssh_keys;     // name to path
  bool own_ssh_keys = false;  // who names no key uses those of the daemon's own user

  // Which file set a key of a group, and where one that none has set can be; for the words of a
  // refusal.
  std::map<std::pair<std::string, std::string>, std::string> files;
  std::string main_file = "virt-forward.conf";
  // "[host] ports in /etc/virt-forward/virt-forward.conf", "[host] ports, by default".
  std::string origin(std::string_view group, std::string_view key) const;

  bool allows(const IpAddress& host_address) const;
  bool allows(Port host_port) const;
  bool allows(Transport transport) const;  // `automatic`: any of them
  bool allows(Offload offload) const;      // `automatic`, `none`: always
  // Where a host socket, a relative path, is: below the first of the socket directories. Nothing
  // where the host has none.
  std::optional<std::string> place(const std::string& host_socket) const;
};

// NotAllowed with the refusing setting, if `forward` asks for something that the host forbids.
Result<void> check(const Policy& policy, const ForwardDefinition& forward);

}  // namespace vf
