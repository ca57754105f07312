// SPDX-License-Identifier: LGPL-2.1-or-later
//
// The sysctl net.ipv4.conf.LINK.route_localnet: whether packets with loopback addresses may pass
// over a link. Read and set over rtnetlink, as it is a property of the link there
// (IFLA_INET_CONF): that needs CAP_NET_ADMIN and no writable /proc/sys.
//
// The kernel takes any number but 0 for "yes". We set one that nobody else would, so that after a
// crash, a flush and a rename it still shows which links are ours to set back, and that a 1 which
// the host's administrator set is left alone.

#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/address.h"
#include "base/result.h"

namespace vf {

inline constexpr std::uint32_t route_localnet_mark = 0x7666;  // "vf", 30310

// Main thread only.
class LocalnetLinks {
 public:
  virtual ~LocalnetLinks() = default;

  struct Link {
    std::uint32_t index = 0;
    std::string name;
    std::uint32_t route_localnet = 0;
  };
  virtual Result<std::vector<Link>> all() = 0;
  // An error also when there is no such link.
  virtual Result<Link> find(const std::string& name) = 0;
  virtual Result<void> set(std::uint32_t index, std::uint32_t route_localnet) = 0;
  // The link that packets to `address` go out of.
  virtual std::optional<std::uint32_t> towards(const IpAddress& address) = 0;
};

Result<std::unique_ptr<LocalnetLinks>> open_localnet_links();

}  // namespace vf
