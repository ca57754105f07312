// SPDX-License-Identifier: LGPL-2.1-or-later

#pragma once

#include <compare>
#include <cstdint>
#include <string>

#include "base/address.h"

namespace vf {

// A socket in a guest to which others may connect or send: TCP that listens, UDP that is bound and
// not connected. Several of one process (SO_REUSEPORT) are one.
struct ListenerKey {
  bool udp = false;
  IpAddress address = IpAddress::loopback4();
  Port port = *Port::from(1);
  friend auto operator<=>(const ListenerKey&, const ListenerKey&) = default;
};

// As the guest says, so nothing of it is certain: numbers are in range, texts are bounded,
// printable and may be empty for "not known".
struct GuestListener {
  static constexpr std::size_t max_name_bytes = 64;
  static constexpr std::size_t max_command_bytes = 512;
  static constexpr std::size_t max_container_bytes = 256;

  ListenerKey key;
  std::uint32_t pid = 0;  // in the guest; 0: not known
  std::uint32_t uid = 0;  // of the socket
  std::string name;       // of the process, as /proc/PID/comm
  std::string command;    // arguments with a space between them
  std::string container;  // control group, where it tells a container or service

  friend bool operator==(const GuestListener&, const GuestListener&) = default;
};

}  // namespace vf
