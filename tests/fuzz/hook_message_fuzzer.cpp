// SPDX-License-Identifier: LGPL-2.1-or-later
//
// What the daemon reads from the hook socket, and the hook from the daemon.

#include <cstdint>
#include <cstdlib>

#include "wire/hook.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace vf;
  const std::span bytes(data, size);
  if (const auto message = decode_hook_message(bytes)) {
    // What was accepted says the same when it is sent on.
    const auto again = encode(*message);
    const auto decoded = decode_hook_message(std::span(again).subspan(4));
    if (!decoded || *decoded != *message) std::abort();
  }
  if (const auto reply = decode_hook_reply(bytes)) {
    const auto again = encode(*reply);
    const auto decoded = decode_hook_reply(std::span(again).subspan(4));
    if (!decoded || *decoded != *reply) std::abort();
  }
  return 0;
}
