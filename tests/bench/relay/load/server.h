// SPDX-License-Identifier: LGPL-2.1-or-later

#pragma once

#include <cstdint>

#include "common.h"

namespace vf::load {

// Serves every Mode on the TCP port, and echo and upload on the UDP port of the same number, until
// the process is killed. Bulk connections have a thread of their own, so that the serving end does
// not mix what the "mixed" row wants the relay to mix.
[[noreturn]] void serve(std::uint16_t port, Counters& counters);

// The UDP half; blocks for ever.
[[noreturn]] void serve_udp(std::uint16_t port, Counters& counters);

}  // namespace vf::load
