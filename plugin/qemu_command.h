// SPDX-License-Identifier: LGPL-2.1-or-later
//
// Commands that libvirt hands on unread, to QEMU or to the agent in its guest. Both may block: for
// workers.

#pragma once

#include <string>

#include "base/result.h"
#include "plugin/libvirt_handles.h"

namespace vf {

// What the QEMU guest agent of a domain answers to one command. Takes seconds where the agent
// hangs. Which commands there are: QEMU's "QEMU Guest Agent Protocol Reference".
Result<std::string> qemu_agent_reply(virConnectPtr connect, const std::string& uuid,
                                     const std::string& command);

// What QEMU's human monitor prints for one command, an error as much as any other text. Taints the
// domain ("custom-monitor"). Blocks as long as QEMU does not answer: one that is stopped, for ever.
Result<std::string> qemu_monitor_reply(virConnectPtr connect, const std::string& uuid,
                                       const std::string& command);

}  // namespace vf
