// SPDX-License-Identifier: LGPL-2.1-or-later
//
// The closed word lists of the design. One table per list; text() and parse() read the same table,
// so metadata, JSON, D-Bus and the command line can never spell a word in two ways.

#pragma once

#include <optional>
#include <span>
#include <string_view>
#include <utility>

namespace vf {

enum class Protocol { tcp, udp };
// How the relay reaches the guest. `automatic` is a wish; a running forward has one of the others.
enum class Transport { automatic, tcp, vsock, ssh, usernet };
// The short-cut in the kernel, if any. `automatic` is a wish.
enum class Offload { automatic, none, redirect, nftables };
enum class OnBusy { next, any, fail };
enum class ProxyProtocol { none, v2 };
enum class AutoMode { policy, yes, no };
enum class RuleAction { forward, block, ignore, ask };
enum class ForwardState {
  active,
  waiting,
  no_listener,
  port_busy,
  denied,
  failed,
  disabled,
  inactive
};
// Of a port that was found in a guest.
enum class DetectedState { forwarded, blocked, ignored, asking, denied };
enum class Origin { metadata, automatic };
// Of a way that was thought of for a forward: a transport or an offload. `ready` is the next one to
// be tried where the one in use fails.
enum class WayState { used, ready, rejected };
// Who in the guest told of a port.
enum class PortSource { agent, qemu_agent };

template <typename Word>
using WordTable = std::span<const std::pair<Word, std::string_view>>;

// The spellings of one list, the default of the metadata first.
template <typename Word>
WordTable<Word> words();

template <typename Word>
std::string_view text(Word word) {
  for (const auto& [value, spelling] : words<Word>())
    if (value == word) return spelling;
  return {};
}

template <typename Word>
std::optional<Word> parse(std::string_view spelling) {
  for (const auto& [value, known] : words<Word>())
    if (known == spelling) return value;
  return std::nullopt;
}

template <>
WordTable<Protocol> words();
template <>
WordTable<Transport> words();
template <>
WordTable<Offload> words();
template <>
WordTable<OnBusy> words();
template <>
WordTable<ProxyProtocol> words();
template <>
WordTable<AutoMode> words();
template <>
WordTable<RuleAction> words();
template <>
WordTable<ForwardState> words();
template <>
WordTable<DetectedState> words();
template <>
WordTable<Origin> words();
template <>
WordTable<WayState> words();
template <>
WordTable<PortSource> words();
template <>
WordTable<bool> words();  // "no", "yes"

}  // namespace vf
