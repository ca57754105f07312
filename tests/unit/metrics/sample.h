// SPDX-License-Identifier: LGPL-2.1-or-later

#pragma once

#include <string>

#include "metrics/snapshot.h"

namespace vf::test {

inline ForwardView sample_forward(const std::string& domain, const std::string& id,
                                  ForwardState state = ForwardState::active) {
  ForwardView view;
  view.domain = domain;
  view.id = id;
  view.state = state;
  return view;
}

// Every metric is there, and every character that a label has to escape.
inline Snapshot sample() {
  Snapshot snapshot;
  snapshot.up = true;
  snapshot.version = "1.2.3";
  snapshot.libvirt_connected = true;
  snapshot.duration = std::chrono::duration<double>(0.25);
  const std::string odd = "quo\"te back\\slash new\nline";
  DomainView web{"u1", "web", 1, true, true, {}};
  DomainView other{"u2", odd, {}, false, true, {}};
  snapshot.domains = {web, other};

  ForwardView http = sample_forward("web", "tcp:8080:80");
  http.transport = Transport::tcp;
  http.offload = Offload::redirect;
  snapshot.forwards["/a"] = {http, ForwardCounters{3, 100, 200, 10, 2}};
  ForwardView ssh = sample_forward("web", "ssh");
  ssh.transport = Transport::vsock;
  snapshot.forwards["/b"] = {ssh, ForwardCounters{1, {}, {}, 5, 0}};
  snapshot.forwards["/c"] = {sample_forward(odd, "tcp:1:1", ForwardState::inactive), {}};

  PortView port;
  port.domain = "web";
  port.state = DetectedState::forwarded;
  snapshot.ports = {port, port};
  port.state = DetectedState::blocked;
  snapshot.ports.push_back(port);

  snapshot.statistics = {7, 8, 9, 10, {{"swift", 100, 2'500'000, {{100, 60}, {250'000, 99}}}}};
  return snapshot;
}

}  // namespace vf::test
