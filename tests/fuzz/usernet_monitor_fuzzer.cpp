// SPDX-License-Identifier: LGPL-2.1-or-later
//
// What QEMU's human monitor prints, read as the reply to each command that is sent there.

#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string_view>

#include "base/printable.h"
#include "transport/usernet_monitor.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace vf;
  const std::string_view reply(reinterpret_cast<const char*>(data), size);
  const auto proper = [](const Error& error) {
    if (error.message.size() > 300 || printable(error.message) != error.message) std::abort();
  };
  if (const auto added = hostfwd_added(reply); !added) proper(added.error());
  if (const auto removed = hostfwd_removed(reply); !removed) proper(removed.error());
  const auto rules = usernet_rules(reply);
  if (!rules) {
    proper(rules.error());
    return 0;
  }
  if (rules->size() > size / 20) std::abort();
  for (const UsernetRule& rule : *rules)
    if (!rule.host.address.is_v4() || !rule.guest.address.is_v4()) std::abort();
  return 0;
}
