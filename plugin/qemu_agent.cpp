// SPDX-License-Identifier: LGPL-2.1-or-later

#include "plugin/qemu_agent.h"

#include <libvirt/libvirt-qemu.h>

#include "base/printable.h"

namespace vf {
namespace {

constexpr int timeout = 5;  // seconds
constexpr std::size_t max_reason_bytes = 200;

}  // namespace

Result<std::string> qemu_agent_reply(virConnectPtr connect, const std::string& uuid,
                                     const std::string& command) {
  const DomainHandle domain = look_up(connect, uuid);
  if (!domain) return Unexpected(libvirt_error("domain " + uuid));
  const LibvirtText reply(virDomainQemuAgentCommand(domain.get(), command.c_str(), timeout, 0));
  if (reply) return std::string(reply.get());
  Error error = libvirt_error("QEMU guest agent");
  error.message = printable(error.message, max_reason_bytes);  // the guest may have a part in it
  return Unexpected(std::move(error));
}

}  // namespace vf
