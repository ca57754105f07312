// SPDX-License-Identifier: LGPL-2.1-or-later

#include "plugin/qemu_command.h"

#include <libvirt/libvirt-qemu.h>

#include "base/printable.h"

namespace vf {
namespace {

constexpr int agent_timeout = 5;  // seconds
constexpr std::size_t max_reason_bytes = 200;

// `ask` returns the reply, or null after an error of libvirt's.
template <typename Ask>
Result<std::string> reply_of(std::string_view who, virConnectPtr connect, const std::string& uuid,
                             Ask ask) {
  const DomainHandle domain = look_up(connect, uuid);
  if (!domain) return Unexpected(libvirt_error("domain " + uuid));
  const LibvirtText reply(ask(domain.get()));
  if (reply) return std::string(reply.get());
  Error error = libvirt_error(who);
  error.message = printable(error.message, max_reason_bytes);  // the guest may have a part in it
  return Unexpected(std::move(error));
}

}  // namespace

Result<std::string> qemu_agent_reply(virConnectPtr connect, const std::string& uuid,
                                     const std::string& command) {
  return reply_of("QEMU guest agent", connect, uuid, [&](virDomainPtr domain) {
    return virDomainQemuAgentCommand(domain, command.c_str(), agent_timeout, 0);
  });
}

Result<std::string> qemu_monitor_reply(virConnectPtr connect, const std::string& uuid,
                                       const std::string& command) {
  return reply_of("QEMU's monitor", connect, uuid, [&](virDomainPtr domain) {
    char* reply = nullptr;
    const int status = virDomainQemuMonitorCommand(domain, command.c_str(), &reply,
                                                   VIR_DOMAIN_QEMU_MONITOR_COMMAND_HMP);
    return status == 0 ? reply : nullptr;
  });
}

}  // namespace vf
