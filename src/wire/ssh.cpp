// SPDX-License-Identifier: LGPL-2.1-or-later

#include "wire/ssh.h"

#include <algorithm>
#include <utility>

#include "wire/codec.h"
#include "wire/hook.h"

namespace vf {
namespace {

using codec::Reader;
using codec::Writer;

constexpr std::size_t max_user_bytes = 32;
constexpr std::size_t max_path_bytes = 4095;

bool is_destination(const RelayEndpoint& endpoint) {
  return (std::holds_alternative<Endpoint>(endpoint) ||
          std::holds_alternative<VsockEndpoint>(endpoint)) &&
         codec::fits(endpoint);
}

bool is_key_path(const std::string& path) {
  return path.empty() || (path.starts_with('/') && path.size() <= max_path_bytes &&
                          path.find('\0') == std::string::npos);
}

bool fits(const AgentEndpoint& target) {
  return codec::fits(RelayEndpoint(target));
}

AgentEndpoint read_target(Reader& from) {
  auto read = from.endpoint();
  auto* const target = read ? std::get_if<AgentEndpoint>(&*read) : nullptr;
  if (!target) {
    from.fail();
    return {};
  }
  return std::move(*target);
}

std::string read_uuid(Reader& from) {
  std::string uuid = from.key();
  if (!is_uuid(uuid)) from.fail();
  return uuid;
}

template <typename T>
struct Codec;

template <>
struct Codec<SshHello> {
  static bool valid(const SshHello&) { return true; }
  static void write(const SshHello& hello, Writer& to) {
    to.number(hello.version);
    to.number(hello.capabilities);
    to.number(hello.pid);
  }
  static SshHello read(Reader& from, std::vector<Fd>&) {
    SshHello hello;
    hello.version = from.number<std::uint32_t>();
    hello.capabilities = from.number<std::uint32_t>();
    hello.pid = from.number<std::uint32_t>();
    return hello;
  }
};

template <>
struct Codec<SshGuest> {
  static bool valid(const SshGuest& guest) {
    return is_uuid(guest.uuid) && guest.destinations.size() <= ssh_max_destinations &&
           std::ranges::all_of(guest.destinations, is_destination) && is_ssh_user(guest.user) &&
           is_key_path(guest.key_path) && guest.targets.size() <= ssh_max_targets &&
           std::ranges::all_of(guest.targets, [](const AgentEndpoint& one) { return fits(one); });
  }
  static void write(const SshGuest& guest, Writer& to) {
    to.key(guest.uuid);
    to.number(static_cast<std::uint8_t>(guest.destinations.size()));
    for (const RelayEndpoint& one : guest.destinations)
      to.endpoint(one);
    to.text(guest.user);
    to.text(guest.key_path);
    to.number(static_cast<std::uint16_t>(guest.targets.size()));
    for (const AgentEndpoint& one : guest.targets)
      to.endpoint(one);
  }
  static SshGuest read(Reader& from, std::vector<Fd>&) {
    SshGuest guest;
    guest.uuid = read_uuid(from);
    const auto destinations = from.number<std::uint8_t>();
    if (destinations > ssh_max_destinations) from.fail();
    for (unsigned i = 0; i < destinations && !from.failed(); ++i) {
      auto one = from.endpoint();
      if (one && is_destination(*one))
        guest.destinations.push_back(std::move(*one));
      else
        from.fail();
    }
    guest.user = from.text(max_user_bytes);
    guest.key_path = from.text(max_path_bytes);
    if (!is_ssh_user(guest.user) || !is_key_path(guest.key_path)) from.fail();
    const auto targets = from.number<std::uint16_t>();
    if (targets > ssh_max_targets) from.fail();
    for (unsigned i = 0; i < targets && !from.failed(); ++i)
      guest.targets.push_back(read_target(from));
    return guest;
  }
};

template <>
struct Codec<SshClose> {
  static bool valid(const SshClose& close) { return is_uuid(close.uuid); }
  static void write(const SshClose& close, Writer& to) { to.key(close.uuid); }
  static SshClose read(Reader& from, std::vector<Fd>&) { return {read_uuid(from)}; }
};

template <typename T>
struct EmptyCodec {
  static bool valid(const T&) { return true; }
  static void write(const T&, Writer&) {}
  static T read(Reader&, std::vector<Fd>&) { return {}; }
};
template <>
struct Codec<SshSync> : EmptyCodec<SshSync> {};
template <>
struct Codec<SshShutDown> : EmptyCodec<SshShutDown> {};

template <>
struct Codec<SshState> {
  static bool valid(const SshState& state) {
    return is_uuid(state.uuid) && codec::fits_printable(state.reason, ssh_reason_max_bytes);
  }
  static void write(const SshState& state, Writer& to) {
    to.key(state.uuid);
    to.number(state.phase);
    to.text(state.reason);
  }
  static SshState read(Reader& from, std::vector<Fd>&) {
    SshState state;
    state.uuid = read_uuid(from);
    state.phase = from.choice(SshPhase::failed);
    state.reason = from.printable_text(ssh_reason_max_bytes);
    return state;
  }
};

template <>
struct Codec<SshTunnel> {
  static bool sound(const SshTunnel& tunnel) {
    return tunnel.path.empty() != tunnel.reason.empty() &&
           (tunnel.path.empty() ||
            (tunnel.path.starts_with('/') && codec::fits(UnixEndpoint{tunnel.path})));
  }
  static bool valid(const SshTunnel& tunnel) {
    return is_uuid(tunnel.uuid) && fits(tunnel.target) && sound(tunnel) &&
           codec::fits_printable(tunnel.reason, ssh_reason_max_bytes);
  }
  static void write(const SshTunnel& tunnel, Writer& to) {
    to.key(tunnel.uuid);
    to.endpoint(tunnel.target);
    to.text(tunnel.path);
    to.text(tunnel.reason);
  }
  static SshTunnel read(Reader& from, std::vector<Fd>&) {
    SshTunnel tunnel;
    tunnel.uuid = read_uuid(from);
    tunnel.target = read_target(from);
    tunnel.path = from.text(max_path_bytes);
    tunnel.reason = from.printable_text(ssh_reason_max_bytes);
    if (!sound(tunnel)) from.fail();
    return tunnel;
  }
};

template <>
struct Codec<SshRefused> {
  static bool valid(const SshRefused& refused) {
    return is_uuid(refused.uuid) && fits(refused.target) &&
           codec::fits_printable(refused.reason, ssh_reason_max_bytes);
  }
  static void write(const SshRefused& refused, Writer& to) {
    to.key(refused.uuid);
    to.endpoint(refused.target);
    to.text(refused.reason);
  }
  static SshRefused read(Reader& from, std::vector<Fd>&) {
    SshRefused refused;
    refused.uuid = read_uuid(from);
    refused.target = read_target(from);
    refused.reason = from.printable_text(ssh_reason_max_bytes);
    return refused;
  }
};

struct Protocol {
  using Message = SshMessage;
  template <typename T>
  using Codec = vf::Codec<T>;
  using Writer = codec::Writer;
  using Reader = codec::Reader;
  static constexpr std::size_t max_bytes = ssh_packet_max_bytes;
  static constexpr std::size_t max_fds = 0;
  static constexpr std::string_view name = "ssh packet";
  static std::vector<Fd>* fds_of(SshMessage&) { return nullptr; }
};

}  // namespace

bool is_ssh_user(std::string_view text) {
  constexpr std::string_view allowed =
      "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._-";
  return !text.empty() && text.size() <= max_user_bytes &&
         text.find_first_not_of(allowed) == text.npos && text.front() != '-' &&
         text.front() != '.' && !(text.front() >= '0' && text.front() <= '9');
}

std::vector<std::uint8_t> encode_ssh_message(SshMessage message) {
  std::vector<std::uint8_t> bytes;
  std::vector<Fd> none;
  if (!codec::append<Protocol>(bytes, none, message)) bytes.clear();
  return bytes;
}

Result<std::vector<SshMessage>> decode_ssh_packet(std::span<const std::uint8_t> bytes,
                                                  std::vector<Fd> fds) {
  return codec::decode<Protocol>(bytes, std::move(fds));
}

}  // namespace vf
