// SPDX-License-Identifier: LGPL-2.1-or-later

#include "transport/usernet_monitor.h"

#include <algorithm>
#include <utility>

#include "base/printable.h"

namespace vf {
namespace {

constexpr std::size_t max_reason_bytes = 200;
constexpr std::size_t max_alias_bytes = 64;

constexpr bool is_letter_or_digit(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
}

std::string_view trimmed(std::string_view text) {
  constexpr std::string_view space = " \t\r\n";
  const auto begin = text.find_first_not_of(space);
  if (begin == std::string_view::npos) return {};
  return text.substr(begin, text.find_last_not_of(space) - begin + 1);
}

// Takes the next word off the front; empty at the end.
std::string_view take_word(std::string_view& text) {
  text = trimmed(text);
  const std::string_view word = text.substr(0, text.find_first_of(" \t"));
  text.remove_prefix(word.size());
  return word;
}

std::string host_part(Protocol protocol, const Endpoint& host) {
  return std::string(text(protocol)) + ':' + host.address.text() + ':' +
         std::to_string(host.port.number());
}

Unexpected in_qemus_words(std::string_view reply) {
  return Unexpected(ErrorCode::failed, "QEMU says: " + printable(trimmed(reply), max_reason_bytes));
}

// The netdev was unplugged, or is served by something else than QEMU itself.
bool names_no_user_network(std::string_view reply) {
  return reply.starts_with("unrecognized netdev id ") || reply == "invalid device specified";
}

// "Hub -1 (hostnet0):", "VLAN -1 (hostnet0):" before QEMU 2.12
std::optional<std::string_view> heading(std::string_view line) {
  if (!line.starts_with("Hub ") && !line.starts_with("VLAN ")) return std::nullopt;
  const auto begin = line.find('(');
  if (begin == std::string_view::npos || !line.ends_with("):")) return std::nullopt;
  return line.substr(begin + 1, line.size() - begin - 3);
}

std::optional<Endpoint> take_endpoint(std::string_view& text) {
  const auto address = IpAddress::parse(take_word(text));
  const auto port = Port::parse(take_word(text));
  if (!address || !address->is_v4() || !port) return std::nullopt;
  return Endpoint{*address, *port};
}

// "TCP[HOST_FORWARD]  21      127.64.1.2 61000       10.0.2.15    80     0     0"
std::optional<UsernetRule> rule(std::string_view netdev, std::string_view line) {
  const std::string_view kind = take_word(line);
  if (kind != "TCP[HOST_FORWARD]" && kind != "UDP[HOST_FORWARD]") return std::nullopt;
  take_word(line);  // QEMU's descriptor
  const auto host = take_endpoint(line);
  const auto guest = take_endpoint(line);
  if (!host || !guest) return std::nullopt;
  return UsernetRule{std::string(netdev), kind[0] == 'T' ? Protocol::tcp : Protocol::udp, *host,
                     *guest};
}

}  // namespace

std::optional<std::string> usernet_netdev(std::string_view alias) {
  const auto fits = [](char c) { return is_letter_or_digit(c) || c == '-' || c == '_'; };
  if (alias.empty() || alias.size() > max_alias_bytes || !is_letter_or_digit(alias[0]) ||
      !std::ranges::all_of(alias, fits))
    return std::nullopt;
  return "host" + std::string(alias);
}

std::string hostfwd_add(const std::string& netdev, Protocol protocol, const Endpoint& host,
                        const std::optional<IpAddress>& guest_address, Port guest_port) {
  return "hostfwd_add " + netdev + ' ' + host_part(protocol, host) + '-' +
         (guest_address ? guest_address->text() : "") + ':' + std::to_string(guest_port.number());
}

std::string hostfwd_remove(const UsernetRule& rule) {
  return "hostfwd_remove " + rule.netdev + ' ' + host_part(rule.protocol, rule.host);
}

Result<void> hostfwd_added(std::string_view reply) {
  reply = trimmed(reply);
  if (reply.empty()) return {};
  if (reply.starts_with("Could not set up host forwarding rule"))
    return Unexpected(ErrorCode::port_busy, "QEMU cannot listen on the port");
  if (names_no_user_network(reply))
    return Unexpected(ErrorCode::no_such_forward, "QEMU has no such user network (any more)");
  return in_qemus_words(reply);
}

Result<void> hostfwd_removed(std::string_view reply) {
  reply = trimmed(reply);
  const bool gone = reply.starts_with("host forwarding rule for ") &&
                    (reply.ends_with(" removed") || reply.ends_with(" not found"));
  if (gone || names_no_user_network(reply)) return {};
  if (reply.empty()) return Unexpected(ErrorCode::failed, "QEMU says nothing");
  return in_qemus_words(reply);
}

Result<std::vector<UsernetRule>> usernet_rules(std::string_view reply) {
  std::vector<UsernetRule> rules;
  std::optional<std::string_view> netdev;
  for (std::string_view rest = reply; !rest.empty();) {
    const std::string_view whole = rest.substr(0, rest.find('\n'));
    rest.remove_prefix(std::min(rest.size(), whole.size() + 1));
    const std::string_view line = trimmed(whole);
    if (const auto name = heading(line))
      netdev = name;
    else if (!netdev && !line.empty())
      return in_qemus_words(reply);
    else if (auto found = netdev ? rule(*netdev, line) : std::nullopt)
      rules.push_back(*std::move(found));
  }
  return rules;
}

}  // namespace vf
