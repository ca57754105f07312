// SPDX-License-Identifier: LGPL-2.1-or-later
//
// A kernel in memory: what was done to it, in order, and what others do to it.

#pragma once

#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "offload/nft_host.h"

namespace vf::test {

struct FakeKernel {
  // "nft: COMMANDS", "NAME: VALUE" (the sysctl), "end: CLIENT"
  std::vector<std::string> done;
  NftBackend::Standing tables;
  int guards_made = 0;
  std::optional<Error> nft_error;   // of every transaction
  std::optional<Error> look_error;  // of every look
  bool own_lost_once = false;       // the next transaction finds that its table went
  std::vector<LocalnetLinks::Link> links;
  std::optional<Error> set_error;
  std::map<std::string, std::string> routes;  // guest to link
  std::vector<TrackedFlow> flows;
  NftWatch::OnTables on_tables;
  NftWatch::OnLinks on_links;

  LocalnetLinks::Link* link(const std::string& name);
  NftHost open();
};

}  // namespace vf::test
