// SPDX-License-Identifier: LGPL-2.1-or-later
//
// The relay by itself: what it serves is given on its command line, as pairs of where to listen and
// where to connect. The forwards are the daemon's kind, with the same defaults.

#pragma once

#include <string>
#include <vector>

#include "base/result.h"
#include "relay/context.h"
#include "wire/relay.h"

namespace vf {

// Forwards that listen, and where: "tcp:127.0.0.1:34567 -> tcp:127.0.0.1:80", which is also their
// key.
Result<std::vector<RelayAdd>> standalone_forwards(const std::vector<std::string>& arguments);

// Failures go to the log.
class StandaloneEvents final : public RelayEvents {
 public:
  void proven(const std::string&) override {}
  void failing(const std::string& key, int error_number) override;
};

}  // namespace vf
