// SPDX-License-Identifier: LGPL-2.1-or-later
//
// Host to guest agent and back, over a stream (vsock, port 1010 of the guest): protocol 1, which
// contrib/doc/guest-protocol.md describes. All integers are little-endian.
//
// A connection begins with the host's request of a fixed size, which the agent answers with a reply
// of a fixed size; no server's first bytes can be taken for it. What follows depends on the
// service:
//
//   control    frames, both ways: the agent tells its token first, then what listens in the guest
//   stream     the bytes of the connection, which the host may send without waiting for the reply;
//              each end is said by shutdown(SHUT_WR), a reset by close() alone
//   datagrams  each datagram with its length in front
//
// Either side takes the other for hostile: every length and number is checked, texts are made
// printable.

#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <variant>
#include <vector>

#include "base/guest_listener.h"
#include "base/relay_endpoint.h"
#include "base/result.h"

namespace vf {

inline constexpr std::uint32_t guest_agent_port = 1010;  // only the guest's root can bind it
inline constexpr std::uint16_t guest_protocol_version = 1;

// What every request but the first (control) carries. All zeroes is no token.
using GuestToken = std::array<std::uint8_t, 16>;

enum class GuestService : std::uint8_t { control = 1, stream = 2, datagrams = 3 };

// Of a control request.
inline constexpr std::uint16_t guest_wants_udp = 1;  // UDP sockets as well

struct GuestRequest {
  static constexpr std::size_t bytes = 160;

  std::uint16_t version = guest_protocol_version;
  GuestService service = GuestService::control;
  std::uint16_t flags = 0;
  GuestToken token{};
  AgentEndpoint target;  // of stream and datagrams; datagrams: a port, no path

  friend bool operator==(const GuestRequest&, const GuestRequest&) = default;
};

enum class GuestStatus : std::uint16_t {
  ok = 0,
  malformed = 1,       // not a request of this protocol
  version = 2,         // the agent speaks `version` of its reply at most
  not_privileged = 3,  // control from a source port that any process of the host may have
  wrong_token = 4,
  denied = 5,       // by the guest's administrator
  unreachable = 6,  // `error_number` says why the guest's socket could not be reached
  busy = 7,         // too many connections
};

struct GuestReply {
  static constexpr std::size_t bytes = 16;

  std::uint16_t version = guest_protocol_version;  // the highest that the agent speaks
  GuestStatus status = GuestStatus::ok;
  std::int32_t error_number = 0;   // errno as Linux numbers it
  std::uint32_t capabilities = 0;  // bits; none yet

  friend bool operator==(const GuestReply&, const GuestReply&) = default;
};

std::array<std::uint8_t, GuestRequest::bytes> encode(const GuestRequest& request);
std::array<std::uint8_t, GuestReply::bytes> encode(const GuestReply& reply);
// A request of a later version is decoded as far as its version.
Result<GuestRequest> decode_guest_request(std::span<const std::uint8_t, GuestRequest::bytes> bytes);
Result<GuestReply> decode_guest_reply(std::span<const std::uint8_t, GuestReply::bytes> bytes);

// --- frames of the control stream: kind (1 byte), 0, length of the payload (2 bytes), payload

inline constexpr std::size_t guest_frame_header_bytes = 4;
inline constexpr std::size_t guest_frame_max_bytes = 1024;  // of the payload

// First, and again whenever something in it is different.
struct GuestHello {
  static constexpr std::size_t max_program_bytes = 64;
  GuestToken token{};
  std::uint32_t fallback_ms = 0;  // 0: changes are told at once; else how often it looks for them
  std::string program;            // "virt-forward-guest 0.1.0"
  friend bool operator==(const GuestHello&, const GuestHello&) = default;
};

// It listens now, or something of it is different from what was told.
struct GuestListens {
  GuestListener listener;
  friend bool operator==(const GuestListens&, const GuestListens&) = default;
};

struct GuestGone {
  ListenerKey key;
  friend bool operator==(const GuestGone&, const GuestGone&) = default;
};

// Everything that listens has been told. `left_out`: more than the agent tells of; again whenever
// that number is another one.
struct GuestSnapshotEnd {
  std::uint32_t left_out = 0;
  friend bool operator==(const GuestSnapshotEnd&, const GuestSnapshotEnd&) = default;
};

// Host to agent.
struct GuestWants {
  std::uint16_t flags = 0;  // as in the request
  friend bool operator==(const GuestWants&, const GuestWants&) = default;
};

using GuestFrame = std::variant<GuestHello, GuestListens, GuestGone, GuestSnapshotEnd, GuestWants>;

// Texts past their bound are cut.
std::vector<std::uint8_t> encode(const GuestFrame& frame);

// Takes a stream of frames apart. A frame of a kind that this version does not know is passed over.
class GuestFrameReader {
 public:
  // Keeps what is not yet a whole frame: at most one frame's bytes.
  void push(std::span<const std::uint8_t> bytes);
  // Nothing: no whole frame is left. An Error for what no agent of this protocol sends; nothing may
  // be read after it.
  Result<std::optional<GuestFrame>> next();

 private:
  std::vector<std::uint8_t> bytes_;
  std::size_t begin_ = 0;
};

}  // namespace vf
