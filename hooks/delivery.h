// SPDX-License-Identifier: LGPL-2.1-or-later

#pragma once

#include <string>

#include "base/result.h"
#include "hooks/deadline.h"
#include "wire/hook.h"

namespace vf {

// $RUNTIME/virt-forward/hook.sock of the daemon that serves this user's libvirt.
std::string hook_socket_path();

// Hands the message to the daemon. A message that wants no answer is done when the socket took it
// all (the reply then says accepted); for one that does, a daemon that is just being restarted is
// waited for. Errors: NoDaemon, and Failed when the deadline passes or the answer makes no sense.
Result<HookReply> deliver(const std::string& socket_path, const HookMessage& message,
                          const Deadline& deadline);

}  // namespace vf
