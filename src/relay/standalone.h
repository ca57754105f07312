// SPDX-License-Identifier: LGPL-2.1-or-later
//
// The relay by itself: what it serves is given on its command line, as pairs of where to listen and
// where to connect. The forwards are the daemon's kind, with the same defaults.

#pragma once

#include <string>
#include <vector>

#include "base/result.h"
#include "base/socket_file.h"
#include "relay/context.h"
#include "wire/relay.h"

namespace vf {

struct StandaloneForwards {
  // The keys say where they listen: "tcp:127.0.0.1:34567 -> tcp:127.0.0.1:80".
  std::vector<RelayAdd> forwards;
  // Of those that listen at a path; removed at their end.
  std::vector<SocketFile> files;

  std::vector<std::string> paths() const;
};

// What all of them have, from the options of the command line.
struct StandaloneOptions {
  bool proxy_protocol = false;
  std::uint32_t idle_timeout = 0;
  std::uint32_t max_connections = 0;
};

Result<StandaloneForwards> standalone_forwards(const std::vector<std::string>& arguments,
                                               const StandaloneOptions& options);

// Failures go to the log.
class StandaloneEvents final : public RelayEvents {
 public:
  void proven(const std::string&, std::size_t) override {}
  void failing(const std::string& key, int error_number) override;
};

}  // namespace vf
