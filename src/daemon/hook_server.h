// SPDX-License-Identifier: LGPL-2.1-or-later
//
// The hook socket: what libvirt's hook hands over. Main thread only.

#pragma once

#include <functional>
#include <memory>
#include <string>

#include "base/fd.h"
#include "base/result.h"
#include "wire/hook.h"

namespace vf {

class HookServer {
 public:
  // Called for each message. For a prepare that waits, `answer` must be called once, within the
  // hook's deadline; for all others it is empty. An Error refuses the start; its message is shown
  // by `virsh start`.
  using Answer = std::function<void(Result<void>)>;
  using Handler = std::function<void(const HookMessage& message, Answer answer)>;

  // Listens on `path` (mode 0600; a stale socket file is replaced, a live one is an error), or on
  // `inherited` when that holds a descriptor (socket activation). Peers of another uid than the
  // daemon's own or root are dropped.
  static Result<std::unique_ptr<HookServer>> listen(const std::string& path, Fd inherited,
                                                    Handler handler);
  ~HookServer();

 private:
  class Implementation;
  explicit HookServer(std::unique_ptr<Implementation> implementation);
  std::unique_ptr<Implementation> implementation_;
};

}  // namespace vf
