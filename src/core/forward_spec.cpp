// SPDX-License-Identifier: LGPL-2.1-or-later

#include "core/forward_spec.h"

#include <algorithm>

#include "base/printable.h"
#include "core/definition_xml.h"

namespace vf {
namespace {

constexpr std::string_view ports_allowed = "1-65535 or a range like 8000-8009";

std::string quote(std::string_view text) {
  return '"' + printable(text) + '"';
}

Unexpected wrong(std::string message) {
  return Unexpected(ErrorCode::invalid_argument, std::move(message));
}

Unexpected wrong_port(std::string_view side, std::string_view found) {
  if (found.empty())
    return wrong("the " + std::string(side) + " port is missing; allowed are " +
                 std::string(ports_allowed));
  return wrong(quote(found) + " is not a " + std::string(side) + " port; allowed are " +
               std::string(ports_allowed));
}

// The parts between colons, those in brackets left whole.
std::vector<std::string_view> split(std::string_view text) {
  std::vector<std::string_view> parts;
  std::size_t begin = 0;
  bool bracketed = false;
  for (std::size_t i = 0; i < text.size(); ++i) {
    if (text[i] == '[') bracketed = true;
    if (text[i] == ']') bracketed = false;
    if (text[i] != ':' || bracketed) continue;
    parts.push_back(text.substr(begin, i - begin));
    begin = i + 1;
  }
  parts.push_back(text.substr(begin));
  return parts;
}

Result<GuestSide> parse_guest(std::string_view text) {
  if (text.starts_with('/')) return GuestSide(SocketPath{std::string(text)});
  if (const auto ports = PortRange::parse(text)) return GuestSide(*ports);
  return wrong_port("guest", text);
}

Result<IpAddress> parse_address(std::string_view text) {
  std::string_view literal = text;
  const bool bracketed = text.size() > 2 && text.front() == '[' && text.back() == ']';
  if (bracketed) literal = text.substr(1, text.size() - 2);
  const auto address = IpAddress::parse(literal);
  if (address && address->is_v4() != bracketed) return *address;
  std::string hint;
  if (text == "localhost") hint = "; without an address it is 127.0.0.1 and ::1";
  if (text == "*") hint = "; every IPv4 address is 0.0.0.0";
  return wrong(quote(text) +
               " is not a host address; allowed are one literal address like 127.0.0.1 or [::1]" +
               hint);
}

bool is_socket(std::string_view text) {
  return text.find('/') != std::string_view::npos || text.ends_with(".sock");
}

Result<HostSide> parse_host(std::string_view text) {
  if (is_socket(text)) return HostSide(SocketPath{std::string(text)});
  if (const auto ports = PortRange::parse(text)) return HostSide(*ports);
  return wrong_port("host", text);
}

// Takes "/udp" or "/tcp" off the end. A guest socket has none: its path may end in any word.
Result<std::optional<Protocol>> take_protocol(std::string_view& text) {
  const std::size_t slash = text.rfind('/');
  if (slash == std::string_view::npos) return std::optional<Protocol>();
  const std::size_t colon = text.rfind(':', slash);
  const std::size_t guest = colon == std::string_view::npos ? 0 : colon + 1;
  if (guest < text.size() && text[guest] == '/') return std::optional<Protocol>();
  // A path before the last colon is the host's; what follows that colon is a port.
  if (text.find(':', slash) != std::string_view::npos) return std::optional<Protocol>();
  const std::string_view word = text.substr(slash + 1);
  const auto protocol = parse<Protocol>(word);
  if (!protocol)
    return wrong(quote(word) + " is not a protocol; allowed are tcp and udp, as in 5353:53/udp");
  text = text.substr(0, slash);
  return std::optional(*protocol);
}

bool looks_like_address(std::string_view text) {
  return text.starts_with('[') || text.find('.') != std::string_view::npos || text == "localhost";
}

std::string ports_text(std::uint32_t width) {
  return std::to_string(width) + (width == 1 ? " port" : " ports");
}

Result<void> check_widths(const ForwardSpec& spec) {
  const auto* host = std::get_if<PortRange>(&spec.host);
  const auto* guest = std::get_if<PortRange>(&spec.guest);
  if (!host) return {};
  const std::uint32_t wanted = guest ? guest->width() : 1;
  if (host->width() == wanted) return {};
  const std::string guest_text = guest ? guest->text() : std::get<SocketPath>(spec.guest).path;
  return wrong("host " + host->text() + " has " + ports_text(host->width()) + " and guest " +
               quote(guest_text) + " has " + ports_text(wanted) +
               "; allowed are ranges of the same width");
}

}  // namespace

Result<ForwardSpec> parse_forward_spec(std::string_view text) {
  const std::string_view whole = text;
  if (text.empty()) return wrong("the forward is empty; write [HOST:]GUEST[/udp], as in 8080:80");
  const auto protocol = take_protocol(text);
  if (!protocol) return Unexpected(protocol.error());
  ForwardSpec spec{{}, {}, PortRange(*Port::from(1)), *protocol};

  const std::vector<std::string_view> parts = split(text);
  if (parts.size() > 3)
    return wrong(quote(whole) +
                 " has too many colons; write [HOST:]GUEST[/udp], and an IPv6 address in brackets, "
                 "as in [::1]:8080:80");
  if (parts.size() == 2 && looks_like_address(parts[0]) && !is_socket(parts[0]))
    return wrong(quote(whole) + " has an address but one port only; write " +
                 quote(std::string(parts[0]) + ":8080:" + std::string(parts[1])) + " or " +
                 quote(std::string(parts[0]) + "::" + std::string(parts[1])) +
                 " for any free host port");

  auto guest = parse_guest(parts.back());
  if (!guest) return Unexpected(guest.error());
  spec.guest = *guest;
  if (parts.size() == 3) {
    const auto address = parse_address(parts[0]);
    if (!address) return Unexpected(address.error());
    spec.host_address = *address;
  }
  if (parts.size() >= 2 && !(parts.size() == 3 && parts[1].empty())) {
    const std::string_view side = parts[parts.size() - 2];
    if (parts.size() == 3 && is_socket(side))
      return wrong(quote(whole) +
                   " has both an address and a socket; a socket path has no address");
    auto host = parse_host(side);
    if (!host) return Unexpected(host.error());
    spec.host = *host;
  }
  if (const auto widths = check_widths(spec); !widths) return Unexpected(widths.error());
  return spec;
}

std::vector<std::pair<std::string, std::string>> ForwardSpec::attributes() const {
  std::vector<std::pair<std::string, std::string>> attributes;
  if (const auto* ports = std::get_if<PortRange>(&guest))
    attributes.emplace_back("guest-port", ports->text());
  else
    attributes.emplace_back("guest-socket", std::get<SocketPath>(guest).path);
  if (const auto* ports = std::get_if<PortRange>(&host))
    attributes.emplace_back("host-port", ports->text());
  if (const auto* socket = std::get_if<SocketPath>(&host))
    attributes.emplace_back("host-socket", socket->path);
  if (host_address) attributes.emplace_back("host-address", host_address->text());
  if (protocol) attributes.emplace_back("protocol", text(*protocol));
  return attributes;
}

std::string forward_spec_text(const ForwardDefinition& forward) {
  std::string spec;
  if (forward.host_address)
    spec = forward.host_address->is_v4() ? forward.host_address->text() + ':'
                                         : '[' + forward.host_address->text() + "]:";
  if (const auto* ports = std::get_if<PortRange>(&forward.host))
    spec += ports->text() + ':';
  else if (const auto* socket = std::get_if<SocketPath>(&forward.host))
    spec += socket->path + ':';
  else if (forward.host_address)
    spec += ':';
  if (const auto* ports = std::get_if<PortRange>(&forward.guest))
    spec += ports->text();
  else
    spec += std::get<SocketPath>(forward.guest).path;
  if (forward.protocol != Protocol::tcp) spec += '/' + std::string(text(forward.protocol));

  const auto read = parse_forward_spec(spec);
  if (!read) return {};
  const auto again = parse_forward(read->attributes());
  const bool same = again && again->guest == forward.guest && again->host == forward.host &&
                    again->host_address == forward.host_address &&
                    again->protocol == forward.protocol;
  return same ? spec : std::string();
}

}  // namespace vf
