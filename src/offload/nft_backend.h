// SPDX-License-Identifier: LGPL-2.1-or-later

#pragma once

#include <memory>
#include <string>

#include "base/result.h"

namespace vf {

// The packet filter of this network namespace. Main thread only.
class NftBackend {
 public:
  virtual ~NftBackend() = default;

  // Runs nft(8) commands, one a line, as one transaction: all of them or, after an error, none.
  // Tables with "flags owner" that they make go when this object does.
  virtual Result<void> run(const std::string& commands) = 0;

  // What stands of our tables (nft_ruleset.h). An error says that nobody may look.
  struct Standing {
    bool own = false;
    // The guard table in words that change whenever anybody changes it; empty when it is missing.
    std::string guard = {};
  };
  virtual Result<Standing> look() = 0;
};

// libnftables in this process. An error when this build or this host is without.
Result<std::unique_ptr<NftBackend>> open_nft_backend();

}  // namespace vf
