// SPDX-License-Identifier: LGPL-2.1-or-later

#pragma once

#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "client/daemon.h"

namespace vf {

// The domains to watch, by daemon and UUID; empty: all.
using WatchedDomains = std::vector<std::pair<const Daemon*, std::string>>;

bool is_watched(const WatchedDomains& domains, const Daemon& daemon, const std::string& uuid = {});

// Shows the forwards as a table that lives until it is ended: the exit status, as of `watch`.
// Nothing where the terminal cannot show one.
std::optional<int> watch_as_table(const std::vector<Daemon>& daemons, const WatchedDomains& domains,
                                  bool all, bool color);

}  // namespace vf
