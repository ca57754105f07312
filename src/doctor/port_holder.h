// SPDX-License-Identifier: LGPL-2.1-or-later
//
// What holds a port of this host. The kernel tells everybody that it is held and by which user;
// which process it is, only root and that user may see.

#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "base/address.h"
#include "core/vocabulary.h"

namespace vf {

struct PortHolder {
  std::vector<IpAddress> addresses;  // where it listens, with one port
  Port port = *Port::from(1);
  std::uint32_t uid = 0;
  std::uint32_t pid = 0;  // 0: not to be seen
  std::string process;    // its name; empty: not to be seen
  std::string command;
  friend bool operator==(const PortHolder&, const PortHolder&) = default;

  // Whether it is our own daemon or relay.
  bool ours() const;
};

// "nginx (process 812, user www-data)", "a program of user www-data (run as root to see which)".
std::string text(const PortHolder& holder);

// Read once, asked often.
class PortHolders {
 public:
  // What listens in this network namespace.
  static PortHolders read();
  // For tests.
  PortHolders() = default;
  void add(Protocol protocol, PortHolder holder);

  // Of the port, a process once; none: it is free.
  std::vector<PortHolder> of(Protocol protocol, Port port) const;

 private:
  std::map<std::pair<Protocol, Port>, std::vector<PortHolder>> holders_;
};

}  // namespace vf
