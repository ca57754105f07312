// SPDX-License-Identifier: LGPL-2.1-or-later

#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "base/address.h"

namespace vf {

// A network interface of a domain as its XML says.
struct GuestInterface {
  std::string mac;      // lower case, "52:54:00:12:34:56"
  std::string type;     // "network", "bridge", "user", "direct", ...
  std::string bridge;   // of the host; empty while the domain does not run or where there is none
  std::string target;   // tap device on the host; empty while the domain does not run
  std::string alias;    // "net0": libvirt's while the domain runs, or its author's ("ua-web")
  std::string backend;  // what serves the type "user": "passt"; empty: QEMU itself

  friend bool operator==(const GuestInterface&, const GuestInterface&) = default;
};

// One domain at one moment, read from libvirt in a worker.
struct DomainSnapshot {
  std::string uuid;  // lower case, with dashes
  std::string name;
  std::optional<int> id;  // absent while it does not run
  bool active = false;
  bool persistent = true;
  // Active and its guest can run here: false at a migration's destination before the switch.
  bool serving = false;
  bool paused = false;  // its guest does not run now: nobody there answers
  bool saved = false;   // not active: its next start goes on from a managed save image
  // Our metadata element, empty when there is none: of the running domain, and of its next start.
  std::string live_metadata;
  std::string config_metadata;
  std::vector<GuestInterface> interfaces;
  std::optional<std::uint32_t> vsock_cid;
  bool guest_agent = false;  // the QEMU guest agent's channel is connected

  friend bool operator==(const DomainSnapshot&, const DomainSnapshot&) = default;
};

}  // namespace vf
