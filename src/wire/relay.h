// SPDX-License-Identifier: LGPL-2.1-or-later
//
// Daemon to relay and back, over a SOCK_SEQPACKET socket. A packet holds one or more messages; the
// descriptors that travel with it (SCM_RIGHTS) belong to its messages in order. Both ends run on
// one host, so integers are in its native byte order.
//
// Each end says hello first. The hello's layout never changes; everything else belongs to a
// version. The daemon stages adds, updates and removals, which take effect at its commit, all of
// them or, where the connection ends before, none.
//
//   daemon                            relay
//   hello                             hello
//   add* update* remove* commit   ->  committed
//   list                          ->  held* kept* list-end
//   keep                          ->  (answered by later lists)
//   statistics                    ->  counters* lane-statistics* statistics-end
//   shut-down                     ->  (ends)
//                                     proven, failing (at any time)
//   guest-open, guest-wants       ->  guest-up listener* synced (listener | gone | synced)*
//                                     guest-down (the stream ended; guest-open begins anew)
//   guest-close                   ->  (nothing more of that guest)
//   agent-reply                   ->  agent-answer, and listeners as above
//
// What a guest wrote is read here and nowhere else: the daemon gets numbers in range and texts that
// are bounded and printable.
//
// A relay that takes over speaks too, to the one that runs:
//
//   successor                         relay
//   hello (as successor)              hello
//   take-over                     ->  control-socket held* kept* list-end
//   retire                        ->  (drains and ends)

#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <variant>
#include <vector>

#include "base/address.h"
#include "base/fd.h"
#include "base/guest_listener.h"
#include "base/relay_endpoint.h"
#include "base/result.h"

namespace vf {

// Where a forward's connections go: the endpoints in order of preference. Empty: there is no way
// now, and a client gets a reset.
struct RelayTarget {
  std::vector<RelayEndpoint> endpoints;
  friend bool operator==(const RelayTarget&, const RelayTarget&) = default;
};

enum class RelayProtocol : std::uint8_t { stream, datagram };

// A forward as the relay serves it. `key` names it across restarts: "UUID/ID", 1 to 512 bytes; the
// forwards whose keys begin with the same UUID are those of one domain.
struct RelayForward {
  std::string key;
  RelayTarget target;
  std::uint32_t max_connections = 0;  // at once; of datagrams: clients. 0: no bound
  RelayProtocol protocol = RelayProtocol::stream;
  bool proxy_protocol = false;  // streams only: a PROXY header, version 2, goes ahead of the bytes
  std::uint32_t idle_timeout = 0;            // seconds; 0: the protocol's usual
  std::uint32_t max_domain_connections = 0;  // of all streams of the domain. 0: no bound
  friend bool operator==(const RelayForward&, const RelayForward&) = default;
};

inline constexpr std::uint32_t relay_protocol_version = 4;
inline constexpr std::size_t relay_packet_max_bytes = 64 * 1024;
inline constexpr std::size_t relay_packet_max_fds = 253;  // SCM_MAX_FD
inline constexpr std::size_t relay_key_max_bytes = 512;
inline constexpr std::size_t relay_max_endpoints = 64;
inline constexpr std::size_t relay_max_kept = 4;

// What an end of this version may do beyond its minimum. Nothing of it is sent to one that has not
// said so in its hello.
enum class RelayCapability : std::uint32_t {
  lane_statistics = 1u << 0,
};

// In the hello of a relay that comes to take over, which is no daemon's.
inline constexpr std::uint32_t relay_hello_successor = 1u << 31;

struct RelayHello {
  std::uint32_t version = relay_protocol_version;
  std::uint32_t capabilities = 0;
  std::uint32_t pid = 0;
  friend bool operator==(const RelayHello&, const RelayHello&) = default;
};

// What both ends that are built from here say.
inline constexpr std::uint32_t relay_capabilities =
    static_cast<std::uint32_t>(RelayCapability::lane_statistics);

inline bool has(const RelayHello& hello, RelayCapability capability) {
  return (hello.capabilities & static_cast<std::uint32_t>(capability)) != 0;
}

// A key that the relay holds already gets these listeners and this target instead of the old ones;
// its connections go on.
struct RelayAdd {
  RelayForward forward;
  std::vector<Fd> listeners;  // at most relay_packet_max_fds
};

// Also of what has not changed: what was proven is forgotten, and so told anew.
struct RelayUpdate {
  RelayForward forward;
};

enum class RelayRemoval : std::uint8_t { cut, drain };

struct RelayRemove {
  std::string key;
  RelayRemoval removal = RelayRemoval::cut;
};

struct RelayCommit {
  std::uint64_t sequence = 0;
};

struct RelayCommitted {
  std::uint64_t sequence = 0;
};

struct RelayList {
  std::uint64_t sequence = 0;
};

struct RelayHeld {
  RelayForward forward;
  bool proven = false;
  std::vector<std::uint64_t> cookies;  // SO_COOKIE of each listener, in their order
  std::vector<Fd> listeners;           // duplicates
  std::uint8_t endpoint = 0;           // of what is proven, as in RelayProven
};

// A descriptor that the relay holds for the daemons to come, and does nothing with: what a daemon
// leaves in the kernel is found through it. Replaces what is kept under that name, at most
// relay_max_kept of them; in effect at once.
struct RelayKeep {
  std::string name;     // as a key
  std::vector<Fd> fds;  // one
};

struct RelayKept {
  std::string name;
  std::vector<Fd> fds;  // one, a duplicate
};

struct RelayListEnd {
  std::uint64_t sequence = 0;
};

struct RelayStatistics {
  std::uint64_t sequence = 0;
};

struct RelayCounters {
  std::string key;
  std::uint64_t connections = 0;  // established now
  std::uint64_t accepted = 0;     // since the forward began, as all that follow
  std::uint64_t bytes_in = 0;     // from clients to the guest
  std::uint64_t bytes_out = 0;    // from the guest to clients
  std::uint64_t failures = 0;     // connections that never reached the guest
  friend bool operator==(const RelayCounters&, const RelayCounters&) = default;
  // Adds another part of the same forward's.
  RelayCounters& operator+=(const RelayCounters& other);
};

// Of all threads of one lane together, since the relay began. A round of a thread's loop handles
// what has come since the one before: what comes meanwhile waits for its end.
struct RelayLaneStatistics {
  // Microseconds; a round is counted at the first bound that it does not exceed, past all of them
  // at the end.
  static constexpr std::array<std::uint32_t, 12> bounds = {
      100, 250, 500, 1'000, 2'500, 5'000, 10'000, 25'000, 50'000, 100'000, 250'000, 1'000'000};
  bool bulk = false;
  std::uint64_t microseconds = 0;  // of all rounds
  std::uint64_t refused = 0;       // connections past a bound of their forward or domain
  std::uint64_t lost = 0;          // datagrams
  std::array<std::uint64_t, bounds.size() + 1> rounds{};
  friend bool operator==(const RelayLaneStatistics&, const RelayLaneStatistics&) = default;
  // Adds another thread's of the same lane.
  RelayLaneStatistics& operator+=(const RelayLaneStatistics& other);
};

struct RelayStatisticsEnd {
  std::uint64_t sequence = 0;
};

// The first connection got through to the guest, or the first since `failing` or an update, or the
// first by another endpoint than the last one told.
struct RelayProven {
  std::string key;
  std::uint8_t endpoint = 0;  // place in the target's list
};

// A connection could not be made: errno of the last endpoint tried.
struct RelayFailing {
  std::string key;
  std::int32_t error_number = 0;
};

struct RelayShutDown {};

struct RelayTakeOver {};

struct RelayControlSocket {
  std::vector<Fd> listeners;  // one
};

struct RelayRetire {};

// --- guests: `guest` is the UUID that the keys of its forwards begin with

// A stream to the agent of a guest, on which nothing has been said yet. It replaces the one before;
// what was told of the guest stands until `synced`, then what was not told again is gone.
struct RelayGuestOpen {
  std::string guest;
  RelayEndpoint agent = VsockEndpoint{};  // where the connections of its forwards go
  bool wants_udp = false;
  std::vector<Fd> control;  // one
};

struct RelayGuestWants {
  std::string guest;
  bool wants_udp = false;
};

// Ends the stream and forgets what listens; connections go on.
struct RelayGuestClose {
  std::string guest;
};

// The agent has said hello and given its token: connections can be made.
struct RelayGuestUp {
  std::string guest;
  std::uint32_t fallback_ms = 0;  // see GuestHello
  std::string program;
};

enum class RelayGuestFault : std::uint8_t {
  ended,          // the stream did, with `error_number` or in order (0)
  refused,        // `status` of the reply (GuestStatus)
  not_understood  // it does not keep to the protocol
};

struct RelayGuestDown {
  std::string guest;
  RelayGuestFault fault = RelayGuestFault::ended;
  std::int32_t error_number = 0;
  std::uint16_t status = 0;
  std::uint16_t version = 0;  // of the agent, where it said one
};

// Appeared or changed.
struct RelayGuestListener {
  std::string guest;
  GuestListener listener;
};

struct RelayGuestGone {
  std::string guest;
  ListenerKey key;
};

// All that is to be told has been, for now.
struct RelayGuestSynced {
  std::string guest;
  std::uint32_t left_out = 0;  // listeners past what is kept of one guest
  std::uint64_t slowed = 0;    // turns in which changes came faster than they are told, so far
};

// The raw text of a QEMU guest agent's reply, and what it answers. A reading is: begin, then the
// chunks of each file, then end.
enum class RelayAgentStep : std::uint8_t {
  number,  // {"return": 1000}: a handle or process id, comes back as `number`
  tcp4,    // a chunk of /proc/net/tcp; `number` comes back as 1 when it was the last
  tcp6,
  udp4,
  udp6,
  begin,  // no text: of a new reading
  end     // no text: what was not in this reading is gone
};

struct RelayAgentReply {
  static constexpr std::size_t max_text_bytes = 60 * 1024;
  std::string guest;
  std::uint64_t sequence = 0;
  RelayAgentStep step = RelayAgentStep::number;
  std::string text;
};

struct RelayAgentAnswer {
  std::string guest;
  std::uint64_t sequence = 0;
  bool understood = false;
  std::int64_t number = 0;
};

using RelayMessage =
    std::variant<RelayHello, RelayAdd, RelayUpdate, RelayRemove, RelayCommit, RelayCommitted,
                 RelayList, RelayHeld, RelayListEnd, RelayStatistics, RelayCounters,
                 RelayStatisticsEnd, RelayProven, RelayFailing, RelayShutDown, RelayTakeOver,
                 RelayControlSocket, RelayRetire, RelayGuestOpen, RelayGuestWants, RelayGuestClose,
                 RelayGuestUp, RelayGuestDown, RelayGuestListener, RelayGuestGone, RelayGuestSynced,
                 RelayAgentReply, RelayAgentAnswer, RelayKeep, RelayKept, RelayLaneStatistics>;

// A packet in the making, or one that is ready to be sent.
struct RelayPacket {
  std::vector<std::uint8_t> bytes;
  std::vector<Fd> fds;

  bool empty() const { return bytes.empty(); }
  // Takes the message's descriptors over and returns true; where it does not fit beside what is
  // there already, it is left untouched. A message that is within the limits above fits into an
  // empty packet; any other never does.
  [[nodiscard]] bool append(RelayMessage& message);
};

// Every message of a packet. An Error for anything that the encoder could not have made: all
// lengths, counts and numbers are checked, and `fds` are closed.
Result<std::vector<RelayMessage>> decode_relay_packet(std::span<const std::uint8_t> bytes,
                                                      std::vector<Fd> fds);

}  // namespace vf
