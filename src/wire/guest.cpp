// SPDX-License-Identifier: LGPL-2.1-or-later
//
// The layouts, byte by byte, are those of contrib/doc/guest-protocol.md.

#include "wire/guest.h"

#include <algorithm>
#include <concepts>
#include <cstring>
#include <string_view>
#include <utility>

#include "base/printable.h"

namespace vf {
namespace {

constexpr std::string_view request_magic("VFGUEST\x1a", 8);
constexpr std::string_view reply_magic("VFG\x1a", 4);

// In a request.
constexpr std::size_t at_address = 32;
constexpr std::size_t at_path = 48;
constexpr std::size_t path_bytes = AgentEndpoint::max_path_bytes + 1;
constexpr std::size_t at_reserved = at_path + path_bytes;

enum class TargetKind : std::uint8_t { none = 0, localhost = 1, inet4 = 2, inet6 = 3, path = 4 };

enum class FrameKind : std::uint8_t { hello = 1, listens = 2, gone = 3, end = 4, wants = 5 };

// What a socket is bound to: protocol, family, port, address in 16 bytes.
constexpr std::size_t key_bytes = 20;
constexpr std::uint8_t protocol_tcp = 6;
constexpr std::uint8_t protocol_udp = 17;
constexpr std::uint8_t family_inet4 = 4;
constexpr std::uint8_t family_inet6 = 6;

constexpr std::uint32_t max_pid = 0x7fffffff;
constexpr std::uint32_t max_fallback_ms = 3'600'000;
constexpr std::int32_t max_error_number = 4095;

static_assert(at_reserved + 4 == GuestRequest::bytes);
static_assert(key_bytes + 8 + 5 + GuestListener::max_name_bytes + GuestListener::max_command_bytes +
                  GuestListener::max_container_bytes <=
              guest_frame_max_bytes);

Unexpected malformed(std::string_view what) {
  return Unexpected(ErrorCode::invalid_argument, "guest protocol: " + std::string(what));
}

template <std::unsigned_integral T>
void put(std::span<std::uint8_t> into, T value) {
  for (std::size_t at = 0; at < sizeof value; ++at)
    into[at] = static_cast<std::uint8_t>(value >> (8 * at));
}

template <std::unsigned_integral T>
T get(std::span<const std::uint8_t> from) {
  T value = 0;
  for (std::size_t at = 0; at < sizeof value; ++at)
    value = static_cast<T>(value | static_cast<T>(T{from[at]} << (8 * at)));
  return value;
}

bool starts_with(std::span<const std::uint8_t> bytes, std::string_view magic) {
  return std::memcmp(bytes.data(), magic.data(), magic.size()) == 0;
}

bool all_zero(std::span<const std::uint8_t> bytes) {
  return std::ranges::all_of(bytes, [](std::uint8_t byte) { return byte == 0; });
}

TargetKind kind_of(const AgentEndpoint& target) {
  if (!target.port) return TargetKind::path;
  if (!target.address) return TargetKind::localhost;
  return target.address->is_v4() ? TargetKind::inet4 : TargetKind::inet6;
}

// The part of a path or name in its field, which a NUL ends and NULs fill.
std::optional<std::string> padded_text(std::span<const std::uint8_t> field) {
  const auto end = std::ranges::find(field, 0);
  if (end == field.end() || !all_zero({end, field.end()})) return std::nullopt;
  return std::string(field.begin(), end);
}

// At most `most` bytes, and no character cut in two.
std::string_view cut(std::string_view text, std::size_t most) {
  if (text.size() <= most) return text;
  while (most > 0 && (static_cast<std::uint8_t>(text[most]) & 0xc0) == 0x80)
    --most;
  return text.substr(0, most);
}

class Writer {
 public:
  Writer(std::vector<std::uint8_t>& bytes, FrameKind kind) : bytes_(bytes) {
    number(static_cast<std::uint8_t>(kind));
    number(std::uint8_t{0});
    number(std::uint16_t{0});
  }
  void finish() {
    const auto length = bytes_.size() - guest_frame_header_bytes;
    put(std::span(bytes_).subspan(2), static_cast<std::uint16_t>(length));
  }

  template <std::unsigned_integral T>
  void number(T value) {
    const auto at = bytes_.size();
    bytes_.resize(at + sizeof value);
    put(std::span(bytes_).subspan(at), value);
  }
  void raw(std::span<const std::uint8_t> data) {
    bytes_.insert(bytes_.end(), data.begin(), data.end());
  }
  void text(std::string_view text) { bytes_.insert(bytes_.end(), text.begin(), text.end()); }
  void key(const ListenerKey& key) {
    number(key.udp ? protocol_udp : protocol_tcp);
    number(key.address.is_v4() ? family_inet4 : family_inet6);
    number(key.port.number());
    raw(key.address.bytes());
    if (key.address.is_v4()) bytes_.resize(bytes_.size() + 12);
  }

 private:
  std::vector<std::uint8_t>& bytes_;
};

// Reads past the end give zeroes and leave the reader failed.
class Reader {
 public:
  explicit Reader(std::span<const std::uint8_t> bytes) : rest_(bytes) {}

  bool complete() const { return !failed_ && rest_.empty(); }
  void require(bool condition) { failed_ = failed_ || !condition; }

  std::span<const std::uint8_t> raw(std::size_t length) {
    require(length <= rest_.size());
    if (failed_) return {};
    const auto taken = rest_.first(length);
    rest_ = rest_.subspan(length);
    return taken;
  }
  template <std::unsigned_integral T>
  T number() {
    const auto taken = raw(sizeof(T));
    return taken.empty() ? T{0} : get<T>(taken);
  }
  // Printable, whatever the bytes are.
  std::string text(std::size_t length, std::size_t most) {
    require(length <= most);
    const auto taken = raw(length);
    return printable({reinterpret_cast<const char*>(taken.data()), taken.size()}, most);
  }
  ListenerKey key() {
    ListenerKey key;
    const auto protocol = number<std::uint8_t>();
    require(protocol == protocol_tcp || protocol == protocol_udp);
    key.udp = protocol == protocol_udp;
    const auto family = number<std::uint8_t>();
    require(family == family_inet4 || family == family_inet6);
    const auto port = Port::from(number<std::uint16_t>());
    require(port.has_value());
    const auto address = raw(16);
    if (failed_) return key;
    require(family == family_inet6 || all_zero(address.subspan(4)));
    key.port = *port;
    key.address = *IpAddress::from_bytes(address.first(family == family_inet4 ? 4 : 16));
    return key;
  }

 private:
  std::span<const std::uint8_t> rest_;
  bool failed_ = false;
};

void write(std::vector<std::uint8_t>& bytes, const GuestHello& hello) {
  Writer out(bytes, FrameKind::hello);
  out.raw(hello.token);
  out.number(hello.fallback_ms);
  const auto program = cut(hello.program, GuestHello::max_program_bytes);
  out.number(static_cast<std::uint8_t>(program.size()));
  out.text(program);
  out.finish();
}

void write(std::vector<std::uint8_t>& bytes, const GuestListens& listens) {
  const GuestListener& listener = listens.listener;
  Writer out(bytes, FrameKind::listens);
  out.key(listener.key);
  out.number(listener.pid);
  out.number(listener.uid);
  const auto name = cut(listener.name, GuestListener::max_name_bytes);
  const auto command = cut(listener.command, GuestListener::max_command_bytes);
  const auto container = cut(listener.container, GuestListener::max_container_bytes);
  out.number(static_cast<std::uint8_t>(name.size()));
  out.number(static_cast<std::uint16_t>(command.size()));
  out.number(static_cast<std::uint16_t>(container.size()));
  for (const auto text : {name, command, container})
    out.text(text);
  out.finish();
}

void write(std::vector<std::uint8_t>& bytes, const GuestGone& gone) {
  Writer out(bytes, FrameKind::gone);
  out.key(gone.key);
  out.finish();
}

void write(std::vector<std::uint8_t>& bytes, const GuestSnapshotEnd& end) {
  Writer out(bytes, FrameKind::end);
  out.number(end.left_out);
  out.finish();
}

void write(std::vector<std::uint8_t>& bytes, const GuestWants& wants) {
  Writer out(bytes, FrameKind::wants);
  out.number(wants.flags);
  out.finish();
}

GuestHello read_hello(Reader& in) {
  GuestHello hello;
  const auto token = in.raw(hello.token.size());
  std::ranges::copy(token, hello.token.begin());
  in.require(!all_zero(hello.token));
  hello.fallback_ms = in.number<std::uint32_t>();
  in.require(hello.fallback_ms <= max_fallback_ms);
  const auto length = in.number<std::uint8_t>();
  hello.program = in.text(length, GuestHello::max_program_bytes);
  return hello;
}

GuestListens read_listens(Reader& in) {
  GuestListens listens;
  GuestListener& listener = listens.listener;
  listener.key = in.key();
  listener.pid = in.number<std::uint32_t>();
  in.require(listener.pid <= max_pid);
  listener.uid = in.number<std::uint32_t>();
  const auto name = in.number<std::uint8_t>();
  const auto command = in.number<std::uint16_t>();
  const auto container = in.number<std::uint16_t>();
  listener.name = in.text(name, GuestListener::max_name_bytes);
  listener.command = in.text(command, GuestListener::max_command_bytes);
  listener.container = in.text(container, GuestListener::max_container_bytes);
  return listens;
}

// Nothing for a kind that this version does not know.
std::optional<GuestFrame> read_frame(std::uint8_t kind, Reader& in) {
  switch (static_cast<FrameKind>(kind)) {
    case FrameKind::hello:
      return read_hello(in);
    case FrameKind::listens:
      return read_listens(in);
    case FrameKind::gone:
      return GuestGone{in.key()};
    case FrameKind::end:
      return GuestSnapshotEnd{in.number<std::uint32_t>()};
    case FrameKind::wants:
      return GuestWants{in.number<std::uint16_t>()};
  }
  return std::nullopt;
}

// What a request of version 1 says behind its version.
Result<AgentEndpoint> read_target(std::span<const std::uint8_t, GuestRequest::bytes> bytes,
                                  GuestService service) {
  const auto kind = static_cast<TargetKind>(bytes[11]);
  const auto port = get<std::uint16_t>(bytes.subspan(14));
  const auto address = bytes.subspan(at_address, 16);
  const auto path = padded_text(bytes.subspan(at_path, path_bytes));
  if (!path) return malformed("a path without an end");

  const bool names_port =
      kind == TargetKind::localhost || kind == TargetKind::inet4 || kind == TargetKind::inet6;
  const std::size_t length = kind == TargetKind::inet4 ? 4 : kind == TargetKind::inet6 ? 16 : 0;
  if (!all_zero(address.subspan(length)) || (kind != TargetKind::path && !path->empty()) ||
      (!names_port && port != 0))
    return malformed("a target that is two");

  AgentEndpoint target;
  if (names_port) {
    target.port = Port::from(port);
    if (!target.port) return malformed("port 0");
    if (length > 0) target.address = IpAddress::from_bytes(address.first(length));
    return target;
  }
  if (kind == TargetKind::none) {
    if (service != GuestService::control) return malformed("no target");
    return target;
  }
  if (kind != TargetKind::path) return malformed("a target of unknown kind");
  if (!path->starts_with('/')) return malformed("a path that is not absolute");
  target.path = *path;
  return target;
}

}  // namespace

std::array<std::uint8_t, GuestRequest::bytes> encode(const GuestRequest& request) {
  std::array<std::uint8_t, GuestRequest::bytes> bytes{};
  const std::span all(bytes);
  std::ranges::copy(request_magic, bytes.begin());
  put(all.subspan(8), request.version);
  bytes[10] = static_cast<std::uint8_t>(request.service);
  put(all.subspan(12), request.flags);
  std::ranges::copy(request.token, bytes.begin() + 16);
  if (request.service == GuestService::control) return bytes;

  const AgentEndpoint& target = request.target;
  bytes[11] = static_cast<std::uint8_t>(kind_of(target));
  if (target.port) {
    put(all.subspan(14), target.port->number());
    if (target.address) std::ranges::copy(target.address->bytes(), bytes.begin() + at_address);
  } else {
    const auto path = std::string_view(target.path).substr(0, AgentEndpoint::max_path_bytes);
    std::ranges::copy(path, bytes.begin() + at_path);
  }
  return bytes;
}

std::array<std::uint8_t, GuestReply::bytes> encode(const GuestReply& reply) {
  std::array<std::uint8_t, GuestReply::bytes> bytes{};
  const std::span all(bytes);
  std::ranges::copy(reply_magic, bytes.begin());
  put(all.subspan(4), reply.version);
  put(all.subspan(6), static_cast<std::uint16_t>(reply.status));
  put(all.subspan(8), static_cast<std::uint32_t>(reply.error_number));
  put(all.subspan(12), reply.capabilities);
  return bytes;
}

Result<GuestRequest> decode_guest_request(
    std::span<const std::uint8_t, GuestRequest::bytes> bytes) {
  if (!starts_with(bytes, request_magic)) return malformed("not a request");
  GuestRequest request;
  request.version = get<std::uint16_t>(bytes.subspan(8));
  if (request.version == 0) return malformed("version 0");
  if (request.version > guest_protocol_version) return request;

  const auto service = bytes[10];
  if (service < static_cast<std::uint8_t>(GuestService::control) ||
      service > static_cast<std::uint8_t>(GuestService::datagrams))
    return malformed("an unknown service");
  request.service = static_cast<GuestService>(service);
  request.flags = get<std::uint16_t>(bytes.subspan(12));
  std::ranges::copy(bytes.subspan(16, request.token.size()), request.token.begin());
  if (!all_zero(bytes.subspan(at_reserved))) return malformed("reserved bytes in use");

  auto target = read_target(bytes, request.service);
  if (!target) return Unexpected(std::move(target).error());
  const bool is_path = !target->path.empty();
  if (request.service == GuestService::control && (is_path || target->port))
    return malformed("control with a target");
  if (request.service == GuestService::datagrams && is_path)
    return malformed("datagrams to a path");
  request.target = std::move(*target);
  return request;
}

Result<GuestReply> decode_guest_reply(std::span<const std::uint8_t, GuestReply::bytes> bytes) {
  if (!starts_with(bytes, reply_magic)) return malformed("not a reply");
  GuestReply reply;
  reply.version = get<std::uint16_t>(bytes.subspan(4));
  if (reply.version == 0) return malformed("version 0");
  const auto status = get<std::uint16_t>(bytes.subspan(6));
  if (status > static_cast<std::uint16_t>(GuestStatus::busy)) return malformed("an unknown status");
  reply.status = static_cast<GuestStatus>(status);
  const auto number = get<std::uint32_t>(bytes.subspan(8));
  if (number > max_error_number) return malformed("an error number out of range");
  reply.error_number = static_cast<std::int32_t>(number);
  reply.capabilities = get<std::uint32_t>(bytes.subspan(12));
  return reply;
}

std::vector<std::uint8_t> encode(const GuestFrame& frame) {
  std::vector<std::uint8_t> bytes;
  std::visit([&bytes](const auto& typed) { write(bytes, typed); }, frame);
  return bytes;
}

void GuestFrameReader::push(std::span<const std::uint8_t> bytes) {
  bytes_.erase(bytes_.begin(), bytes_.begin() + static_cast<std::ptrdiff_t>(begin_));
  begin_ = 0;
  bytes_.insert(bytes_.end(), bytes.begin(), bytes.end());
}

Result<std::optional<GuestFrame>> GuestFrameReader::next() {
  for (;;) {
    const auto rest = std::span<const std::uint8_t>(bytes_).subspan(begin_);
    if (rest.size() < guest_frame_header_bytes) return std::optional<GuestFrame>();
    const std::size_t length = get<std::uint16_t>(rest.subspan(2));
    if (rest[1] != 0 || length > guest_frame_max_bytes) return malformed("not a frame");
    if (rest.size() < guest_frame_header_bytes + length) return std::optional<GuestFrame>();
    begin_ += guest_frame_header_bytes + length;

    Reader in(rest.subspan(guest_frame_header_bytes, length));
    auto frame = read_frame(rest[0], in);
    if (!frame) continue;
    if (!in.complete()) return malformed("a frame of kind " + std::to_string(rest[0]));
    return frame;
  }
}

}  // namespace vf
