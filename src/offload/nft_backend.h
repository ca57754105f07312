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
    // The guard table as the kernel describes it: other bytes when anybody changed it or made it
    // anew, empty when it is missing.
    std::string guard = {};
  };
  virtual Result<Standing> look() = 0;
};

// libnftables in this process. An error when this build or this kernel is without, or this process
// may not use it.
Result<std::unique_ptr<NftBackend>> open_nft_backend();

}  // namespace vf
