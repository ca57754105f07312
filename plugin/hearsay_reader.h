// SPDX-License-Identifier: LGPL-2.1-or-later
//
// What libvirt says about guests' addresses: only a hint (see AddressTrust). For workers; empty
// where libvirt does not know or does not answer.

#pragma once

#include <string>
#include <vector>

#include "plugin/address_trust.h"
#include "plugin/libvirt_handles.h"

namespace vf {

// The leases of all active networks.
std::vector<Hearsay> read_leases(virConnectPtr connect);
// Asks the QEMU guest agent of a domain: up to five seconds when it hangs. Bounded.
std::vector<Hearsay> ask_agent(virConnectPtr connect, const std::string& uuid);

}  // namespace vf
