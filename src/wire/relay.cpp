// SPDX-License-Identifier: LGPL-2.1-or-later

#include "wire/relay.h"

#include <string_view>
#include <utility>

#include "wire/relay_codec.h"
#include "wire/relay_guest_codec.h"

namespace vf {
namespace relay_codec {

constexpr auto last_endpoint = static_cast<std::uint8_t>(relay_max_endpoints - 1);

template <>
struct Codec<RelayHello> {
  static bool valid(const RelayHello&) { return true; }
  static void write(const RelayHello& hello, Writer& to) {
    to.number(hello.version);
    to.number(hello.capabilities);
    to.number(hello.pid);
  }
  static RelayHello read(Reader& from, std::vector<Fd>&) {
    RelayHello hello;
    hello.version = from.number<std::uint32_t>();
    hello.capabilities = from.number<std::uint32_t>();
    hello.pid = from.number<std::uint32_t>();
    return hello;
  }
};

template <>
struct Codec<RelayAdd> {
  static bool valid(const RelayAdd& add) { return fits(add.forward); }
  static void write(const RelayAdd& add, Writer& to) { to.forward(add.forward); }
  static RelayAdd read(Reader& from, std::vector<Fd>& fds) {
    return {from.forward(), std::exchange(fds, {})};
  }
};

template <>
struct Codec<RelayUpdate> {
  static bool valid(const RelayUpdate& update) { return fits(update.forward); }
  static void write(const RelayUpdate& update, Writer& to) { to.forward(update.forward); }
  static RelayUpdate read(Reader& from, std::vector<Fd>&) { return {from.forward()}; }
};

template <>
struct Codec<RelayRemove> {
  static bool valid(const RelayRemove& remove) { return fits(remove.key); }
  static void write(const RelayRemove& remove, Writer& to) {
    to.key(remove.key);
    to.number(remove.removal);
  }
  static RelayRemove read(Reader& from, std::vector<Fd>&) {
    RelayRemove remove;
    remove.key = from.key();
    remove.removal = from.choice(RelayRemoval::drain);
    return remove;
  }
};

template <typename T>
struct SequenceCodec {
  static bool valid(const T&) { return true; }
  static void write(const T& message, Writer& to) { to.number(message.sequence); }
  static T read(Reader& from, std::vector<Fd>&) { return {from.number<std::uint64_t>()}; }
};
template <>
struct Codec<RelayCommit> : SequenceCodec<RelayCommit> {};
template <>
struct Codec<RelayCommitted> : SequenceCodec<RelayCommitted> {};
template <>
struct Codec<RelayList> : SequenceCodec<RelayList> {};
template <>
struct Codec<RelayListEnd> : SequenceCodec<RelayListEnd> {};
template <>
struct Codec<RelayStatistics> : SequenceCodec<RelayStatistics> {};
template <>
struct Codec<RelayStatisticsEnd> : SequenceCodec<RelayStatisticsEnd> {};

template <>
struct Codec<RelayHeld> {
  static bool valid(const RelayHeld& held) {
    return fits(held.forward) && held.endpoint <= last_endpoint &&
           held.cookies.size() == held.listeners.size();
  }
  static void write(const RelayHeld& held, Writer& to) {
    to.forward(held.forward);
    to.number(static_cast<std::uint8_t>(held.proven));
    to.number(held.endpoint);
    for (const std::uint64_t cookie : held.cookies)
      to.number(cookie);
  }
  static RelayHeld read(Reader& from, std::vector<Fd>& fds) {
    RelayHeld held;
    held.forward = from.forward();
    held.proven = from.flag();
    held.endpoint = from.choice(last_endpoint);
    held.listeners = std::exchange(fds, {});
    for (std::size_t i = 0; i < held.listeners.size(); ++i)
      held.cookies.push_back(from.number<std::uint64_t>());
    return held;
  }
};

template <>
struct Codec<RelayCounters> {
  static bool valid(const RelayCounters& counters) { return fits(counters.key); }
  static void write(const RelayCounters& counters, Writer& to) {
    to.key(counters.key);
    to.number(counters.connections);
    to.number(counters.accepted);
    to.number(counters.bytes_in);
    to.number(counters.bytes_out);
    to.number(counters.failures);
  }
  static RelayCounters read(Reader& from, std::vector<Fd>&) {
    RelayCounters counters;
    counters.key = from.key();
    counters.connections = from.number<std::uint64_t>();
    counters.accepted = from.number<std::uint64_t>();
    counters.bytes_in = from.number<std::uint64_t>();
    counters.bytes_out = from.number<std::uint64_t>();
    counters.failures = from.number<std::uint64_t>();
    return counters;
  }
};

template <>
struct Codec<RelayLaneStatistics> {
  static bool valid(const RelayLaneStatistics&) { return true; }
  static void write(const RelayLaneStatistics& lane, Writer& to) {
    to.number(static_cast<std::uint8_t>(lane.bulk));
    to.number(lane.microseconds);
    to.number(lane.refused);
    to.number(lane.lost);
    for (const std::uint64_t count : lane.rounds)
      to.number(count);
  }
  static RelayLaneStatistics read(Reader& from, std::vector<Fd>&) {
    RelayLaneStatistics lane;
    lane.bulk = from.flag();
    lane.microseconds = from.number<std::uint64_t>();
    lane.refused = from.number<std::uint64_t>();
    lane.lost = from.number<std::uint64_t>();
    for (std::uint64_t& count : lane.rounds)
      count = from.number<std::uint64_t>();
    return lane;
  }
};

template <>
struct Codec<RelayProven> {
  static bool valid(const RelayProven& proven) {
    return fits(proven.key) && proven.endpoint <= last_endpoint;
  }
  static void write(const RelayProven& proven, Writer& to) {
    to.key(proven.key);
    to.number(proven.endpoint);
  }
  static RelayProven read(Reader& from, std::vector<Fd>&) {
    RelayProven proven;
    proven.key = from.key();
    proven.endpoint = from.choice(last_endpoint);
    return proven;
  }
};

template <>
struct Codec<RelayFailing> {
  static bool valid(const RelayFailing& failing) { return fits(failing.key); }
  static void write(const RelayFailing& failing, Writer& to) {
    to.key(failing.key);
    to.number(failing.error_number);
  }
  static RelayFailing read(Reader& from, std::vector<Fd>&) {
    RelayFailing failing;
    failing.key = from.key();
    failing.error_number = from.number<std::int32_t>();
    return failing;
  }
};

template <typename T>
struct EmptyCodec {
  static bool valid(const T&) { return true; }
  static void write(const T&, Writer&) {}
  static T read(Reader&, std::vector<Fd>&) { return {}; }
};
template <>
struct Codec<RelayShutDown> : EmptyCodec<RelayShutDown> {};
template <>
struct Codec<RelayTakeOver> : EmptyCodec<RelayTakeOver> {};
template <>
struct Codec<RelayRetire> : EmptyCodec<RelayRetire> {};

template <>
struct Codec<RelayControlSocket> {
  static bool valid(const RelayControlSocket& control) { return control.listeners.size() == 1; }
  static void write(const RelayControlSocket&, Writer&) {}
  static RelayControlSocket read(Reader& from, std::vector<Fd>& fds) {
    RelayControlSocket control;
    control.listeners.push_back(from.only(fds));
    return control;
  }
};

template <typename T>
struct KeptCodec {
  static bool valid(const T& kept) { return fits(kept.name) && kept.fds.size() == 1; }
  static void write(const T& kept, Writer& to) { to.key(kept.name); }
  static T read(Reader& from, std::vector<Fd>& fds) {
    T kept;
    kept.name = from.key();
    kept.fds.push_back(from.only(fds));
    return kept;
  }
};
template <>
struct Codec<RelayKeep> : KeptCodec<RelayKeep> {};
template <>
struct Codec<RelayKept> : KeptCodec<RelayKept> {};

}  // namespace relay_codec

namespace {

struct Protocol {
  using Message = RelayMessage;
  template <typename T>
  using Codec = relay_codec::Codec<T>;
  using Writer = relay_codec::Writer;
  using Reader = relay_codec::Reader;
  static constexpr std::size_t max_bytes = relay_packet_max_bytes;
  static constexpr std::size_t max_fds = relay_packet_max_fds;
  static constexpr std::string_view name = "relay packet";

  static std::vector<Fd>* fds_of(RelayMessage& message) {
    if (auto* add = std::get_if<RelayAdd>(&message)) return &add->listeners;
    if (auto* held = std::get_if<RelayHeld>(&message)) return &held->listeners;
    if (auto* control = std::get_if<RelayControlSocket>(&message)) return &control->listeners;
    if (auto* open = std::get_if<RelayGuestOpen>(&message)) return &open->control;
    if (auto* keep = std::get_if<RelayKeep>(&message)) return &keep->fds;
    if (auto* kept = std::get_if<RelayKept>(&message)) return &kept->fds;
    return nullptr;
  }
};

}  // namespace

bool RelayPacket::append(RelayMessage& message) {
  return codec::append<Protocol>(bytes, fds, message);
}

Result<std::vector<RelayMessage>> decode_relay_packet(std::span<const std::uint8_t> bytes,
                                                      std::vector<Fd> fds) {
  return codec::decode<Protocol>(bytes, std::move(fds));
}

RelayCounters& RelayCounters::operator+=(const RelayCounters& other) {
  connections += other.connections;
  accepted += other.accepted;
  bytes_in += other.bytes_in;
  bytes_out += other.bytes_out;
  failures += other.failures;
  return *this;
}

RelayLaneStatistics& RelayLaneStatistics::operator+=(const RelayLaneStatistics& other) {
  microseconds += other.microseconds;
  refused += other.refused;
  lost += other.lost;
  for (std::size_t i = 0; i < rounds.size(); ++i)
    rounds[i] += other.rounds[i];
  return *this;
}

}  // namespace vf
