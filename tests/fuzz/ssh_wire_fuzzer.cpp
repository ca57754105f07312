// SPDX-License-Identifier: LGPL-2.1-or-later
//
// A packet between daemon and virt-forward-ssh.

#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <vector>

#include "wire/ssh.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace vf;
  const auto messages = decode_ssh_packet({data, size}, {});
  if (!messages) return 0;

  // What was accepted is within the limits, and is the same packet when it is sent on.
  std::vector<std::uint8_t> bytes;
  for (const SshMessage& message : *messages) {
    const auto one = encode_ssh_message(message);
    if (one.empty()) std::abort();
    bytes.insert(bytes.end(), one.begin(), one.end());
  }
  if (bytes != std::vector<std::uint8_t>(data, data + size)) std::abort();
  return 0;
}
