// SPDX-License-Identifier: LGPL-2.1-or-later
//
// What the guest's administrator lets the host reach: /etc/virt-forward/guest.conf.
//
//   deny = 22, 25, 6000-6063/tcp     ports, of both protocols or one
//   deny = 192.168.1.5, [::1]:5432   an address of the guest, or one with ports
//   deny = /run/*.sock               unix sockets; '*' and '?' do not match '/'
//   allow = 8000-8999
//   control-from = privileged        or any-port: any process of the host may ask for the token
//
// What a deny line names is refused. Where there is an allow line for ports or addresses nothing
// else of them may be reached, and the same for paths.

#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/address.h"
#include "base/guest_listener.h"
#include "base/result.h"

namespace vf::guest {

struct AccessRule {
  std::optional<bool> udp;  // absent: both
  std::optional<IpAddress> address;
  std::optional<PortRange> ports;
  std::string path;  // a pattern; then nothing else
};

struct Config {
  std::vector<AccessRule> deny;
  std::vector<AccessRule> allow;
  bool control_from_any_port = false;

  // The message names `file` and the line.
  static Result<Config> parse(std::string_view text, std::string_view file);
  // A file that is not there is an empty one.
  static Result<Config> load(const std::string& file);

  // Of a listener that is bound there as of a connection to there.
  bool permits(const ListenerKey& socket) const;
  bool permits(const std::string& path) const;
};

}  // namespace vf::guest
