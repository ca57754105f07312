// SPDX-License-Identifier: LGPL-2.1-or-later

#pragma once

#include <chrono>
#include <map>
#include <string>
#include <vector>

#include "base/result.h"
#include "client/address.h"
#include "core/forward_view.h"
#include "core/statistics.h"

namespace vf {

// What one reading of a daemon found.
struct Snapshot {
  struct Forward {
    ForwardView view;
    std::optional<ForwardCounters> counters;  // absent: nobody counts it
  };
  bool up = false;  // false: there is nothing else
  std::string version;
  bool libvirt_connected = false;
  bool relay_connected = false;
  std::vector<DomainView> domains;
  std::map<std::string, Forward> forwards;  // by object path
  std::vector<PortView> ports;
  DaemonStatistics statistics;
  std::chrono::duration<double> duration{};  // of the reading
};

// Waits for the daemon, at most as long as Daemon's calls do. A daemon that is not there is a
// snapshot that is not up.
struct Reading {
  Snapshot snapshot;
  std::optional<Error> failure;  // why it is not up
  std::string problem;           // for the journal: what is missing, more than that it is not there
};
Reading read_daemon(const Instance& instance);

}  // namespace vf
