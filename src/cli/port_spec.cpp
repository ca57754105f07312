// SPDX-License-Identifier: LGPL-2.1-or-later

#include "cli/port_spec.h"

#include "cli/output.h"

namespace vf {

Result<PortSpec> parse_port_spec(std::string_view text) {
  const std::size_t slash = text.find('/');
  const auto ports = PortRange::parse(text.substr(0, slash));
  const auto protocol = slash == std::string_view::npos ? std::optional(Protocol::tcp)
                                                        : parse<Protocol>(text.substr(slash + 1));
  if (!ports || !protocol)
    return Unexpected(ErrorCode::invalid_argument,
                      quote(text) +
                          " names no port; allowed are 1-65535 or a range like "
                          "8000-8009, with /udp behind it for UDP");
  return PortSpec{*ports, *protocol};
}

}  // namespace vf
