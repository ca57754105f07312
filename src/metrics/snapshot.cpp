// SPDX-License-Identifier: LGPL-2.1-or-later

#include "metrics/snapshot.h"

#include <utility>

#include "client/daemon.h"

namespace vf {
namespace {

Reading not_up(const Instance& instance, const Error& error) {
  return {{}, error.message.empty() ? none_runs({instance}) : error, error.message};
}

}  // namespace

Reading read_daemon(const Instance& instance) {
  const auto begun = std::chrono::steady_clock::now();
  const auto daemon = Daemon::connect(instance);
  if (!daemon) return not_up(instance, daemon.error());
  auto objects = daemon->inventory();
  if (!objects) return not_up(instance, objects.error());

  Reading reading;
  Snapshot& snapshot = reading.snapshot;
  snapshot.up = true;
  snapshot.version = daemon->version();
  snapshot.libvirt_connected = daemon->libvirt_connected();
  snapshot.relay_connected = daemon->relay_connected();
  for (const auto& [path, properties] : objects->domains)
    snapshot.domains.push_back(domain_view(properties));
  for (auto& [path, properties] : objects->forwards) {
    properties.erase("Ways");  // the longest of all, and of no use here
    snapshot.forwards.emplace(path, Snapshot::Forward{forward_view(properties), {}});
  }
  for (const auto& [path, properties] : objects->ports)
    snapshot.ports.push_back(port_view(properties));
  for (const auto& [path, counters] : daemon->counters())
    if (const auto found = snapshot.forwards.find(path); found != snapshot.forwards.end())
      found->second.counters = counters;
  if (auto statistics = daemon->statistics())
    snapshot.statistics = std::move(*statistics);
  else
    reading.problem = statistics.error().message;
  snapshot.duration = std::chrono::steady_clock::now() - begun;
  return reading;
}

}  // namespace vf
