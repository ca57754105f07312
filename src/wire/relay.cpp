// SPDX-License-Identifier: LGPL-2.1-or-later
//
// A message is a header (length of the whole, kind, number of descriptors) and its fields, without
// padding. Text and lists have a length in front.

#include "wire/relay.h"

#include <algorithm>
#include <cstring>
#include <iterator>
#include <optional>
#include <string_view>
#include <type_traits>
#include <utility>

namespace vf {
namespace {

constexpr std::size_t header_bytes = sizeof(std::uint32_t) + 2 * sizeof(std::uint16_t);

// The kind on the wire is the place in RelayMessage, counted from 1: append only.

enum class EndpointKind : std::uint8_t {
  inet4 = 1,
  inet6 = 2,
  unix_socket = 3,
  vsock = 4,
  agent_inet4 = 5,
  agent_inet6 = 6,
  agent_localhost = 7,
  agent_unix = 8
};

class Writer {
 public:
  explicit Writer(std::vector<std::uint8_t>& bytes) : bytes_(bytes) {}

  template <typename T>
  void number(T value) {
    static_assert(std::is_trivially_copyable_v<T>);
    const auto at = bytes_.size();
    bytes_.resize(at + sizeof value);
    std::memcpy(bytes_.data() + at, &value, sizeof value);
  }
  void raw(std::span<const std::uint8_t> data) {
    bytes_.insert(bytes_.end(), data.begin(), data.end());
  }
  void key(std::string_view key) {
    number(static_cast<std::uint16_t>(key.size()));
    raw({reinterpret_cast<const std::uint8_t*>(key.data()), key.size()});
  }
  void forward(const RelayForward& forward) {
    key(forward.key);
    number(forward.max_connections);
    number(forward.max_domain_connections);
    number(forward.idle_timeout);
    number(forward.protocol);
    number(static_cast<std::uint8_t>(forward.proxy_protocol));
    number(static_cast<std::uint8_t>(forward.target.endpoints.size()));
    for (const RelayEndpoint& one : forward.target.endpoints)
      std::visit([this](const auto& typed) { endpoint(typed); }, one);
  }

 private:
  void endpoint(const Endpoint& endpoint) {
    number(endpoint.address.is_v4() ? EndpointKind::inet4 : EndpointKind::inet6);
    number(endpoint.port.number());
    raw(endpoint.address.bytes());
    if (!endpoint.address.is_v4()) number(endpoint.address.scope());
  }
  void endpoint(const UnixEndpoint& endpoint) {
    number(EndpointKind::unix_socket);
    number(static_cast<std::uint8_t>(endpoint.path.size()));
    raw({reinterpret_cast<const std::uint8_t*>(endpoint.path.data()), endpoint.path.size()});
  }
  void endpoint(const VsockEndpoint& endpoint) {
    number(EndpointKind::vsock);
    number(endpoint.cid);
    number(endpoint.port);
  }
  void endpoint(const AgentEndpoint& endpoint) {
    if (!endpoint.port) {
      number(EndpointKind::agent_unix);
      number(static_cast<std::uint8_t>(endpoint.path.size()));
      raw({reinterpret_cast<const std::uint8_t*>(endpoint.path.data()), endpoint.path.size()});
      return;
    }
    number(!endpoint.address           ? EndpointKind::agent_localhost
           : endpoint.address->is_v4() ? EndpointKind::agent_inet4
                                       : EndpointKind::agent_inet6);
    number(endpoint.port->number());
    if (endpoint.address) raw(endpoint.address->bytes());
  }

  std::vector<std::uint8_t>& bytes_;
};

// Either a port, or an absolute path that the guest's kernel takes.
bool fits(const AgentEndpoint& endpoint) {
  if (endpoint.port) return endpoint.path.empty();
  return !endpoint.address && endpoint.path.starts_with('/') &&
         endpoint.path.size() <= AgentEndpoint::max_path_bytes &&
         endpoint.path.find('\0') == std::string::npos;
}

// Reads past the end give zeroes and leave the reader failed.
class Reader {
 public:
  explicit Reader(std::span<const std::uint8_t> bytes) : rest_(bytes) {}

  bool failed() const { return failed_; }
  void fail() { failed_ = true; }
  bool complete() const { return !failed_ && rest_.empty(); }

  std::span<const std::uint8_t> raw(std::size_t length) {
    if (failed_ || length > rest_.size()) {
      failed_ = true;
      return {};
    }
    const auto taken = rest_.first(length);
    rest_ = rest_.subspan(length);
    return taken;
  }
  template <typename T>
  T number() {
    static_assert(std::is_integral_v<T>);
    T value = 0;
    const auto taken = raw(sizeof value);
    if (!taken.empty()) std::memcpy(&value, taken.data(), sizeof value);
    return value;
  }
  std::string key() {
    const auto length = number<std::uint16_t>();
    if (length == 0 || length > relay_key_max_bytes) failed_ = true;
    const auto taken = raw(length);
    return std::string(taken.begin(), taken.end());
  }
  // One of the values from 0 to `last`.
  template <typename T>
  T choice(T last) {
    const auto value = number<std::uint8_t>();
    if (value > static_cast<std::uint8_t>(last)) failed_ = true;
    return static_cast<T>(value);
  }
  RelayForward forward() {
    RelayForward forward;
    forward.key = key();
    forward.max_connections = number<std::uint32_t>();
    forward.max_domain_connections = number<std::uint32_t>();
    forward.idle_timeout = number<std::uint32_t>();
    forward.protocol = choice<RelayProtocol>(RelayProtocol::datagram);
    forward.proxy_protocol = choice<std::uint8_t>(1) != 0;
    const auto count = number<std::uint8_t>();
    if (count > relay_max_endpoints) failed_ = true;
    for (unsigned i = 0; i < count && !failed_; ++i)
      if (auto read = endpoint()) forward.target.endpoints.push_back(std::move(*read));
    return forward;
  }

 private:
  std::optional<RelayEndpoint> endpoint() {
    std::optional<RelayEndpoint> read;
    switch (static_cast<EndpointKind>(number<std::uint8_t>())) {
      case EndpointKind::inet4:
        read = inet(4);
        break;
      case EndpointKind::inet6:
        read = inet(16);
        break;
      case EndpointKind::unix_socket: {
        const auto path = raw(number<std::uint8_t>());
        read = UnixEndpoint{std::string(path.begin(), path.end())};
        if (!socket_address(*read)) failed_ = true;
        break;
      }
      case EndpointKind::vsock: {
        const auto cid = number<std::uint32_t>();
        read = VsockEndpoint{cid, number<std::uint32_t>()};
        break;
      }
      case EndpointKind::agent_inet4:
        read = agent(4);
        break;
      case EndpointKind::agent_inet6:
        read = agent(16);
        break;
      case EndpointKind::agent_localhost:
        read = agent(0);
        break;
      case EndpointKind::agent_unix: {
        const auto path = raw(number<std::uint8_t>());
        read = AgentEndpoint{{}, {}, std::string(path.begin(), path.end())};
        if (!fits(std::get<AgentEndpoint>(*read))) failed_ = true;
        break;
      }
      default:
        failed_ = true;
    }
    return failed_ ? std::nullopt : read;
  }
  std::optional<RelayEndpoint> agent(std::size_t length) {
    const auto port = Port::from(number<std::uint16_t>());
    const auto address_bytes = raw(length);
    if (!port || failed_) {
      failed_ = true;
      return std::nullopt;
    }
    return AgentEndpoint{IpAddress::from_bytes(address_bytes), port, {}};
  }
  std::optional<RelayEndpoint> inet(std::size_t length) {
    const auto port = Port::from(number<std::uint16_t>());
    const auto address_bytes = raw(length);
    const auto scope = length == 4 ? 0 : number<std::uint32_t>();
    const auto address = IpAddress::from_bytes(address_bytes, scope);
    // A scope where there is none to be would be lost.
    if (!port || !address || address->scope() != scope) {
      failed_ = true;
      return std::nullopt;
    }
    return Endpoint{*address, *port};
  }

  std::span<const std::uint8_t> rest_;
  bool failed_ = false;
};

bool fits(const std::string& key) {
  return !key.empty() && key.size() <= relay_key_max_bytes;
}
bool fits(const RelayForward& forward) {
  const auto& endpoints = forward.target.endpoints;
  return fits(forward.key) && endpoints.size() <= relay_max_endpoints &&
         std::ranges::all_of(endpoints, [](const RelayEndpoint& one) {
           const auto* agent = std::get_if<AgentEndpoint>(&one);
           return agent ? fits(*agent) : socket_address(one).has_value();
         });
}

// For each kind: is it within the limits, what it looks like, and what it was.
template <typename T>
struct Codec;

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
    return fits(held.forward) && held.cookies.size() == held.listeners.size();
  }
  static void write(const RelayHeld& held, Writer& to) {
    to.forward(held.forward);
    to.number(static_cast<std::uint8_t>(held.proven));
    for (const std::uint64_t cookie : held.cookies)
      to.number(cookie);
  }
  static RelayHeld read(Reader& from, std::vector<Fd>& fds) {
    RelayHeld held;
    held.forward = from.forward();
    held.proven = from.choice<std::uint8_t>(1) != 0;
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
struct Codec<RelayProven> {
  static bool valid(const RelayProven& proven) { return fits(proven.key); }
  static void write(const RelayProven& proven, Writer& to) { to.key(proven.key); }
  static RelayProven read(Reader& from, std::vector<Fd>&) { return {from.key()}; }
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
    if (fds.size() != 1) from.fail();
    return {std::exchange(fds, {})};
  }
};

template <std::size_t... kinds>
RelayMessage read_message(std::size_t index, Reader& from, std::vector<Fd>& fds,
                          std::index_sequence<kinds...>) {
  RelayMessage message;
  const auto read_if = [&]<std::size_t kind>(std::integral_constant<std::size_t, kind>) {
    using T = std::variant_alternative_t<kind, RelayMessage>;
    if (kind == index) message.emplace<kind>(Codec<T>::read(from, fds));
  };
  (read_if(std::integral_constant<std::size_t, kinds>{}), ...);
  return message;
}

std::vector<Fd>* listeners_of(RelayMessage& message) {
  if (auto* add = std::get_if<RelayAdd>(&message)) return &add->listeners;
  if (auto* held = std::get_if<RelayHeld>(&message)) return &held->listeners;
  if (auto* control = std::get_if<RelayControlSocket>(&message)) return &control->listeners;
  return nullptr;
}

Unexpected malformed(std::string_view what) {
  return Unexpected(ErrorCode::invalid_argument, "relay packet: " + std::string(what));
}

}  // namespace

bool RelayPacket::append(RelayMessage& message) {
  std::vector<Fd>* const listeners = listeners_of(message);
  const std::size_t fd_count = listeners ? listeners->size() : 0;
  if (fds.size() + fd_count > relay_packet_max_fds) return false;
  const bool valid = std::visit(
      [](const auto& typed) { return Codec<std::decay_t<decltype(typed)>>::valid(typed); },
      message);
  if (!valid) return false;

  const std::size_t begin = bytes.size();
  Writer to(bytes);
  to.number(std::uint32_t{0});
  to.number(static_cast<std::uint16_t>(message.index() + 1));
  to.number(static_cast<std::uint16_t>(fd_count));
  std::visit([&](const auto& typed) { Codec<std::decay_t<decltype(typed)>>::write(typed, to); },
             message);
  if (bytes.size() > relay_packet_max_bytes) {
    bytes.resize(begin);
    return false;
  }
  const auto length = static_cast<std::uint32_t>(bytes.size() - begin);
  std::memcpy(bytes.data() + begin, &length, sizeof length);
  if (listeners) {
    std::move(listeners->begin(), listeners->end(), std::back_inserter(fds));
    listeners->clear();
  }
  return true;
}

Result<std::vector<RelayMessage>> decode_relay_packet(std::span<const std::uint8_t> bytes,
                                                      std::vector<Fd> fds) {
  constexpr auto kinds = std::variant_size_v<RelayMessage>;
  if (bytes.size() > relay_packet_max_bytes) return malformed("too long");
  std::vector<RelayMessage> messages;
  std::size_t used_fds = 0;
  while (!bytes.empty()) {
    Reader header(bytes);
    const auto length = header.number<std::uint32_t>();
    const auto kind = header.number<std::uint16_t>();
    const auto fd_count = header.number<std::uint16_t>();
    if (header.failed() || length < header_bytes || length > bytes.size())
      return malformed("a length is wrong");
    if (kind < 1 || kind > kinds) return malformed("unknown kind " + std::to_string(kind));
    if (fd_count > fds.size() - used_fds) return malformed("a descriptor is missing");

    const auto first = fds.begin() + static_cast<std::ptrdiff_t>(used_fds);
    std::vector<Fd> own(std::make_move_iterator(first), std::make_move_iterator(first + fd_count));
    used_fds += fd_count;
    Reader body(bytes.subspan(header_bytes, length - header_bytes));
    messages.push_back(read_message(kind - 1u, body, own, std::make_index_sequence<kinds>{}));
    if (!body.complete()) return malformed("kind " + std::to_string(kind) + " is malformed");
    if (!own.empty()) return malformed("a descriptor too many");
    bytes = bytes.subspan(length);
  }
  if (used_fds != fds.size()) return malformed("a descriptor too many");
  return messages;
}

RelayCounters& RelayCounters::operator+=(const RelayCounters& other) {
  connections += other.connections;
  accepted += other.accepted;
  bytes_in += other.bytes_in;
  bytes_out += other.bytes_out;
  failures += other.failures;
  return *this;
}

}  // namespace vf
