// SPDX-License-Identifier: LGPL-2.1-or-later

#pragma once

#include <string_view>

#include "base/port.h"
#include "base/result.h"
#include "core/vocabulary.h"

namespace vf {

// Guest ports as a command line names them.
struct PortSpec {
  PortRange ports;
  Protocol protocol = Protocol::tcp;
};

// "3000", "8000-8009", "53/udp". InvalidArgument.
Result<PortSpec> parse_port_spec(std::string_view text);

}  // namespace vf
