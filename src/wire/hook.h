// SPDX-License-Identifier: LGPL-2.1-or-later
//
// Hook to daemon, over a stream socket: one length-prefixed message each way. All integers are
// little-endian. Neither side trusts a length before it has checked it.

#pragma once

#include <chrono>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"

namespace vf {

// The operations of libvirt's qemu hook; an unknown one is `other`.
enum class HookOperation : std::uint8_t {
  other,
  prepare,
  start,
  started,
  stopped,
  release,
  reconnect,
  migrate,
  restore,
  attach,
};

HookOperation hook_operation(std::string_view argument);
std::string_view text(HookOperation operation);

struct HookMessage {
  static constexpr std::uint8_t version = 2;
  static constexpr std::size_t max_bytes = (1 << 20) + 4096;
  static constexpr std::size_t max_name_bytes = 2048;
  static constexpr std::size_t max_element_bytes = 1 << 20;

  HookOperation operation = HookOperation::other;
  bool wants_answer = false;  // prepare of a domain with a required forward
  std::string uuid;           // see is_uuid()
  std::string name;           // any bytes
  std::string element;        // our metadata, verbatim; may be empty
  // While the hook ran, on the clock that this machine's processes share (CLOCK_MONOTONIC). libvirt
  // waits for a hook: what is said of the domain held at this moment.
  std::chrono::nanoseconds moment{0};
  // libvirt's number of the run (<domain id=>); from `prepare` on that of the run that begins.
  // Nothing at `stopped`, `release`, and before a restored or arriving domain is prepared.
  std::optional<int> run = std::nullopt;

  friend bool operator==(const HookMessage&, const HookMessage&) = default;
};

struct HookReply {
  static constexpr std::size_t max_bytes = 4096;

  bool accepted = true;
  std::string message;

  friend bool operator==(const HookReply&, const HookReply&) = default;
};

// The form that libvirt writes: 36 characters, lower case.
bool is_uuid(std::string_view text);

// With the length prefix (4 bytes, of what follows). A name or reply past its bound is cut; an
// element past its bound is left out.
std::vector<std::uint8_t> encode(const HookMessage& message);
std::vector<std::uint8_t> encode(const HookReply& reply);
// Without the length prefix.
Result<HookMessage> decode_hook_message(std::span<const std::uint8_t> bytes);
Result<HookReply> decode_hook_reply(std::span<const std::uint8_t> bytes);

}  // namespace vf
