// SPDX-License-Identifier: LGPL-2.1-or-later
//
// A request that anybody may send to the agent, or a reply that a hostile agent sends.

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <span>

#include "wire/guest.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace vf;
  const std::span<const std::uint8_t> all(data, size);
  if (size >= GuestRequest::bytes) {
    const auto bytes = all.first<GuestRequest::bytes>();
    const auto request = decode_guest_request(bytes);
    // What was accepted of this version is the same request when it is sent on.
    if (request && request->version == guest_protocol_version &&
        !std::ranges::equal(encode(*request), bytes))
      std::abort();
  }
  if (size >= GuestReply::bytes) {
    const auto bytes = all.first<GuestReply::bytes>();
    const auto reply = decode_guest_reply(bytes);
    if (reply && !std::ranges::equal(encode(*reply), bytes)) std::abort();
  }
  return 0;
}
