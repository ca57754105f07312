// SPDX-License-Identifier: LGPL-2.1-or-later

#pragma once

#include <chrono>
#include <memory>

#include "base/result.h"
#include "offload/conntrack.h"
#include "offload/nft_backend.h"
#include "offload/nft_watch.h"
#include "offload/route_localnet.h"

namespace vf {

// All of the kernel that the nftables offload touches.
struct NftHost {
  std::unique_ptr<NftBackend> nft;
  std::unique_ptr<LocalnetLinks> links;
  std::unique_ptr<FlowTable> flows;
  std::unique_ptr<NftWatch> watch;
  // How often it is looked whether connections of entries that are gone have ended.
  std::chrono::milliseconds sweep{1000};

  // The real one. An error when this build or this host is without, or without the privilege.
  static Result<NftHost> open();
};

// Sets back route_localnet wherever it is ours, and ends the connections that cannot go on without.
// The guard must stand, and nothing be taken any more. After an error some of it is still set.
Result<void> clear_localnet_links(NftHost& host);

// The same, then takes the guard table away: all that a process that was killed left, since its own
// table went with it.
Result<void> clear_nftables_rests(NftHost& host);

// For a service that was stopped: from a process of its own, with CAP_NET_ADMIN. An error, and
// nothing is changed, while some process has the offload in use.
Result<void> clear_nftables_rests();

}  // namespace vf
