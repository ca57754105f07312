// SPDX-License-Identifier: LGPL-2.1-or-later
//
// [HOST:]GUEST[/udp] as `add` and `remove` take it:
//
//   GUEST              80, 8000-8009 or /path/of/a/socket/in/the/guest
//   HOST               8080, 18000-18009, web/pg.sock, 127.0.0.1:8080, [::1]:8080 or 127.0.0.1:
//                      (an address and any free port); none: any free port
//   /udp, /tcp         the protocol

#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/result.h"
#include "core/definition.h"

namespace vf {

struct ForwardSpec {
  std::optional<IpAddress> host_address;
  HostSide host;
  GuestSide guest;
  std::optional<Protocol> protocol;  // absent: not said

  // As attributes of the metadata's <forward>.
  std::vector<std::pair<std::string, std::string>> attributes() const;
};

// InvalidArgument names what was found and what is allowed.
Result<ForwardSpec> parse_forward_spec(std::string_view text);

// Ports, sockets, host address and protocol of the forward in these words; empty where they cannot
// say it.
std::string forward_spec_text(const ForwardDefinition& forward);

}  // namespace vf
