// SPDX-License-Identifier: LGPL-2.1-or-later
//
// What says that sockets may have begun or ceased to listen, so that nobody has to look all the
// time. It is a hint: the table of sockets alone says what there is.

#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "base/fd.h"
#include "guest/loop.h"

namespace vf::guest {

struct SocketHint {
  std::uint32_t pid = 0;   // whose call it was
  std::uint16_t port = 0;  // 0: not known yet
  bool begins = false;     // to listen
};

// The kernel's tracepoint sock:inet_sock_set_state, filtered in the kernel for sockets that begin
// or cease to listen. Needs CAP_PERFMON, and CAP_SYS_ADMIN where tracefs is not mounted.
class TcpWakeUp {
 public:
  // The hints since the last time; none of them where some were lost.
  using Listener = std::function<void(const std::vector<SocketHint>&)>;

  // Null where the kernel does not let us; `why` then says what failed.
  static std::unique_ptr<TcpWakeUp> create(Loop& loop, Listener listener, std::string& why);
  ~TcpWakeUp();

  // False when processors came or went: this one may miss something, another is needed.
  bool covers_all() const;

 private:
  struct Cpu;
  struct Layout {
    std::uint64_t id = 0;
    std::size_t new_state = 0;
    std::size_t port = 0;
  };
  TcpWakeUp(Loop& loop, Listener listener);
  std::string open();
  static bool read_layout(Layout& layout);

  Loop& loop_;
  Listener listener_;
  Layout layout_;
  std::string cpus_;  // as the kernel lists them
  std::vector<std::unique_ptr<Cpu>> each_cpu_;
};

}  // namespace vf::guest
