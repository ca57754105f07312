// SPDX-License-Identifier: LGPL-2.1-or-later

#pragma once

#include <string>

#include "base/result.h"
#include "plugin/libvirt_handles.h"

namespace vf {

// What the QEMU guest agent of a domain answers to one command. May block, for seconds where the
// agent hangs: for workers. Which commands there are: QEMU's "QEMU Guest Agent Protocol Reference".
Result<std::string> qemu_agent_reply(virConnectPtr connect, const std::string& uuid,
                                     const std::string& command);

}  // namespace vf
