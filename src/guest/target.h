// SPDX-License-Identifier: LGPL-2.1-or-later

#pragma once

#include <optional>
#include <vector>

#include "base/address.h"
#include "base/relay_endpoint.h"
#include "guest/config.h"
#include "wire/guest.h"

namespace vf::guest {

// Where a request leads to, in the order to be tried; or why it does not.
struct Resolved {
  std::vector<RelayEndpoint> endpoints;
  GuestStatus status = GuestStatus::ok;
  int error_number = 0;
};

// Only what is the guest's own and what the administrator permits.
Resolved resolve(const AgentEndpoint& target, bool udp, const Config& config);
// Whether all of it is still permitted.
bool permitted(const RelayEndpoint& endpoint, bool udp, const Config& config);

}  // namespace vf::guest
