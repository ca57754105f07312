// SPDX-License-Identifier: LGPL-2.1-or-later

#pragma once

#include <optional>
#include <string_view>

#include "base/relay_endpoint.h"
#include "base/result.h"

namespace vf {

// "3:22"; no CID of the host's side.
std::optional<VsockEndpoint> parse_vsock(std::string_view text);

// As ssh's ProxyCommand with ProxyUseFdpass: connects, and passes the connected socket over
// standard output.
Result<void> connect_vsock_for_ssh(const VsockEndpoint& endpoint);

}  // namespace vf
