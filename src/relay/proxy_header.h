// SPDX-License-Identifier: LGPL-2.1-or-later

#pragma once

#include <cstdint>
#include <vector>

namespace vf {

// What tells a server behind a relay who its client is: the PROXY protocol's version 2 header, as
// HAProxy's proxy-protocol.txt has it, with the addresses of the client's connection. Where they
// are not known, or of a kind that the protocol has no name for, the command is LOCAL.
std::vector<std::uint8_t> proxy_header(int client_fd);

}  // namespace vf
