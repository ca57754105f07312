// SPDX-License-Identifier: LGPL-2.1-or-later
//
// The kernel's table of tracked connections, as far as it concerns us: what began at this host's
// loopback for a port there and was taken to another address instead.

#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <vector>

#include "base/address.h"
#include "base/result.h"
#include "core/vocabulary.h"

namespace vf {

struct TrackedFlow {
  // `begun`: no answer of the guest's yet (TCP). `over`: both sides have ended it, and the kernel
  // only remembers it. UDP is established until the kernel forgets it.
  enum class Phase { begun, established, over };

  Protocol protocol = Protocol::tcp;
  Endpoint client;
  Endpoint host;   // where the client thinks it is
  Endpoint guest;  // where it is
  Phase phase = Phase::established;
  std::uint32_t id = 0;
  // Of whole IP packets; absent where the kernel does not count (net.netfilter.nf_conntrack_acct).
  std::optional<std::uint64_t> bytes_to_guest = {};
  std::optional<std::uint64_t> bytes_from_guest = {};
};

// Main thread only.
class FlowTable {
 public:
  virtual ~FlowTable() = default;

  virtual Result<std::vector<TrackedFlow>> flows() = 0;

  // Ends it for the client, who sees "connection aborted" at once, and for the guest, who gets a
  // reset; then the kernel forgets it. A UDP flow is only forgotten: what the client sends next
  // goes to whoever has the port. One that ended meanwhile is no error.
  virtual Result<void> end(const TrackedFlow& flow) = 0;
};

// An error when this build or this host is without.
Result<std::unique_ptr<FlowTable>> open_flow_table();

}  // namespace vf
