// SPDX-License-Identifier: LGPL-2.1-or-later
//
// The hook socket: what libvirt's hook hands over. Main thread only.

#pragma once

#include <functional>
#include <memory>
#include <string>

#include "base/result.h"
#include "daemon/runtime_socket.h"
#include "wire/hook.h"

namespace vf {

class HookServer {
 public:
  // Called for each message. For a prepare that waits, `answer` must be called once, within the
  // hook's deadline; for all others it is empty. An Error refuses the start; its message is shown
  // by `virsh start`.
  using Answer = std::function<void(Result<void>)>;
  using Handler = std::function<void(const HookMessage& message, Answer answer)>;

  // Peers of another uid than the daemon's own or root are dropped.
  HookServer(RuntimeSocket socket, Handler handler);
  ~HookServer();
  HookServer(const HookServer&) = delete;
  HookServer& operator=(const HookServer&) = delete;

  // Whether a hook is being listened to or waits to be.
  bool busy() const;

 private:
  class Implementation;
  std::unique_ptr<Implementation> implementation_;
};

}  // namespace vf
