// SPDX-License-Identifier: LGPL-2.1-or-later

#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <set>
#include <string>

#include "base/result.h"

namespace vf {

// Tells of changes that others may have made to what the offload stands on. Main thread only.
class NftWatch {
 public:
  virtual ~NftWatch() = default;

  // The guard table was changed, by whomever, or our own table went.
  using OnTables = std::function<void()>;
  // Links of these names came, changed or went; absent: any may have. A sysctl that somebody wrote
  // is not told: the kernel tells of forwarding and a few others, not of route_localnet.
  using OnLinks = std::function<void(const std::optional<std::set<std::string>>& names)>;
  // Once; the functions are called from the main loop until the object goes.
  virtual Result<void> start(OnTables on_tables, OnLinks on_links) = 0;
};

std::unique_ptr<NftWatch> make_nft_watch();

}  // namespace vf
