// SPDX-License-Identifier: LGPL-2.1-or-later

#pragma once

#include <cstdint>
#include <string_view>
#include <vector>

#include "base/guest_listener.h"

namespace vf::guest {

struct BoundSocket {
  ListenerKey key;
  std::uint32_t uid = 0;
  std::uint32_t inode = 0;
};

// What listens in this network namespace: the agent's own.
class SocketTable {
 public:
  virtual ~SocketTable() = default;
  // TCP sockets that listen, or UDP sockets that are bound and not connected, in no order, added
  // to `into`. False where the kernel does not say.
  virtual bool dump(bool udp, std::vector<BoundSocket>& into) = 0;
};

// By sock_diag, the kernel picks what matters; where it has none, from /proc/net.
class KernelSocketTable final : public SocketTable {
 public:
  bool dump(bool udp, std::vector<BoundSocket>& into) override;
  // "sock_diag", "/proc/net": what the last dump came from.
  std::string_view source() const { return source_; }

 private:
  std::string_view source_ = "nothing";
};

}  // namespace vf::guest
