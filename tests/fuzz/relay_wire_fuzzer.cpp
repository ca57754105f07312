// SPDX-License-Identifier: LGPL-2.1-or-later
//
// A packet between daemon and relay, with as many descriptors as its first byte says.

#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <span>
#include <utility>
#include <vector>

#include "wire/relay.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace vf;
  if (size == 0) return 0;
  // Closed ones: the decoder only moves them about.
  auto messages = decode_relay_packet({data + 1, size - 1}, std::vector<Fd>(data[0]));
  if (!messages) return 0;

  // What was accepted is within the limits, and is the same packet when it is sent on.
  RelayPacket packet;
  for (RelayMessage& message : *messages)
    if (!packet.append(message)) std::abort();
  if (packet.fds.size() != data[0]) std::abort();
  if (packet.bytes != std::vector<std::uint8_t>(data + 1, data + size)) std::abort();
  return 0;
}
