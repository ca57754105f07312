// SPDX-License-Identifier: LGPL-2.1-or-later

#pragma once

#include "base/address.h"

namespace vf::guest {

// Whether a connection to the address stays in this machine: the kernel's own routing says so. A
// link-local one gets its interface.
bool is_own_address(IpAddress& address);

}  // namespace vf::guest
