// SPDX-License-Identifier: LGPL-2.1-or-later
//
// Replies of a QEMU guest agent, a line each; the first byte of a line says which step it answers.

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string_view>

#include "base/printable.h"
#include "relay/agent_reply.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace vf;
  AgentReplyReader reader;
  ListenerLedger ledger;
  std::string_view rest(reinterpret_cast<const char*>(data), size);
  while (!rest.empty()) {
    const std::string_view line = rest.substr(0, rest.find('\n'));
    rest.remove_prefix(std::min(rest.size(), line.size() + 1));
    if (line.empty()) continue;
    constexpr unsigned steps = static_cast<unsigned>(RelayAgentStep::end) + 1;
    const auto step = static_cast<RelayAgentStep>(static_cast<std::uint8_t>(line[0]) % steps);
    const auto answer = reader.read(step, line.substr(1), ledger);
    if (!answer.understood && answer.number != 0) std::abort();
    if (ledger.size() > 2 * ListenerLedger::max_listeners) std::abort();
  }
  while (const auto news = ledger.next())
    if (const auto* listener = std::get_if<GuestListener>(&*news))
      if (printable(listener->name, GuestListener::max_name_bytes) != listener->name) std::abort();
  return 0;
}
