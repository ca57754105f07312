// SPDX-License-Identifier: LGPL-2.1-or-later

#include "core/definition_schema.h"

#include <algorithm>
#include <charconv>
#include <type_traits>

#include "base/text.h"

namespace vf {
namespace {

using TextCheck = bool (*)(std::string_view);

bool is_letter(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}
bool is_digit(char c) {
  return c >= '0' && c <= '9';
}

bool all_of(std::string_view value, std::string_view others) {
  return std::all_of(value.begin(), value.end(), [&](char c) {
    return is_letter(c) || is_digit(c) || others.find(c) != std::string_view::npos;
  });
}

// '#' separates the identity of a range from the port within it.
bool is_forward_name(std::string_view value) {
  const auto length = count_characters(value);
  return length && *length >= 1 && *length <= 64 && is_plain_text(value) && value.front() != ' ' &&
         value.back() != ' ' && value.find('#') == std::string_view::npos;
}

bool is_label(std::string_view value) {
  return !value.empty() && value.size() <= 256 && is_plain_text(value);
}

bool is_scheme(std::string_view value) {
  return !value.empty() && value.size() <= 32 && value.front() >= 'a' && value.front() <= 'z' &&
         std::all_of(value.begin(), value.end(), [](char c) {
           return (c >= 'a' && c <= 'z') || is_digit(c) || c == '+' || c == '-' || c == '.';
         });
}

bool is_glob(std::string_view value) {
  return !value.empty() && is_plain_text(value);
}

// Components that are neither empty nor "." nor "..".
bool is_relative_path(std::string_view value) {
  while (true) {
    const std::size_t slash = value.find('/');
    const std::string_view component = value.substr(0, slash);
    if (component.empty() || component == "." || component == "..") return false;
    if (slash == std::string_view::npos) return true;
    value.remove_prefix(slash + 1);
  }
}

bool is_host_socket(std::string_view value) {
  return value.size() <= 100 && is_plain_text(value) && is_relative_path(value);
}

bool is_guest_socket(std::string_view value) {
  return value.size() <= 107 && value.starts_with('/') && is_plain_text(value) &&
         is_relative_path(value.substr(1));
}

bool is_account(std::string_view value) {
  return !value.empty() && value.size() <= 32 &&
         (is_letter(value.front()) || value.front() == '_') && all_of(value, "._-");
}

bool is_multicast(const IpAddress& address) {
  const std::uint8_t first = address.bytes().front();
  return address.is_v4() ? first >= 224 && first < 240 : first == 0xff;
}

// An IPv4 address in IPv6 clothes would be a second spelling that checks of the first do not see.
bool is_mapped(const IpAddress& address) {
  const auto bytes = address.bytes();
  return !address.is_v4() &&
         std::all_of(bytes.begin(), bytes.begin() + 10,
                     [](std::uint8_t byte) { return byte == 0; }) &&
         bytes[10] == 0xff && bytes[11] == 0xff;
}

std::optional<IpAddress> read_address(std::string_view value) {
  const auto address = IpAddress::parse(value);
  if (!address || is_multicast(*address) || is_mapped(*address)) return std::nullopt;
  return address;
}

// Up to nine digits, at least 1.
std::optional<std::uint32_t> read_count(std::string_view value) {
  if (value.empty() || value.size() > 9 || value.front() == '0' ||
      !std::all_of(value.begin(), value.end(), is_digit))
    return std::nullopt;
  std::uint32_t count = 0;
  std::from_chars(value.data(), value.data() + value.size(), count);
  return count;
}

template <typename Word>
std::string list_of_words() {
  std::string list;
  const auto table = words<Word>();
  for (std::size_t index = 0; index < table.size(); ++index) {
    if (index > 0) list += index + 1 < table.size() ? ", " : " or ";
    list += table[index].second;
  }
  return list;
}

template <typename Element, typename Word>
Attribute<Element> word_row(std::string_view name, Word Element::*member,
                            std::type_identity_t<Word> by_default) {
  return {name, list_of_words<Word>(),
          [member](Element& element, std::string_view value) {
            const auto word = parse<Word>(value);
            if (word) element.*member = *word;
            return word.has_value();
          },
          [member, by_default](const Element& element) -> std::optional<std::string> {
            if (element.*member == by_default) return std::nullopt;
            return std::string(text(element.*member));
          }};
}

template <typename Element>
Attribute<Element> text_row(std::string_view name, std::string Element::*member, TextCheck check,
                            std::string allowed) {
  return {name, std::move(allowed),
          [member, check](Element& element, std::string_view value) {
            if (!check(value)) return false;
            element.*member = value;
            return true;
          },
          [member](const Element& element) -> std::optional<std::string> {
            if ((element.*member).empty()) return std::nullopt;
            return element.*member;
          }};
}

// `to_text` spells one value.
template <typename Element, typename Value>
Attribute<Element> optional_row(std::string_view name, std::optional<Value> Element::*member,
                                std::optional<Value> (*from_text)(std::string_view),
                                std::string (*to_text)(const Value&), std::string allowed) {
  return {name, std::move(allowed),
          [member, from_text](Element& element, std::string_view value) {
            const auto parsed = from_text(value);
            if (parsed) element.*member = parsed;
            return parsed.has_value();
          },
          [member, to_text](const Element& element) -> std::optional<std::string> {
            if (!(element.*member)) return std::nullopt;
            return to_text(*(element.*member));
          }};
}

std::string address_text(const IpAddress& address) {
  return address.text();
}
std::string range_text(const PortRange& range) {
  return range.text();
}
std::string port_text(const Port& port) {
  return std::to_string(port.number());
}
std::string count_text(const std::uint32_t& count) {
  return std::to_string(count);
}

// A connection to the wildcard address would end at the host itself.
std::optional<IpAddress> read_guest_address(std::string_view value) {
  const auto address = read_address(value);
  if (address && address->is_wildcard()) return std::nullopt;
  return address;
}

// One alternative of a variant: a port range or a socket.
template <typename Element, typename Side, typename Value>
Attribute<Element> side_row(std::string_view name, Side Element::*member,
                            std::optional<Value> (*from_text)(std::string_view),
                            std::string (*to_text)(const Value&), std::string allowed) {
  return {name, std::move(allowed),
          [member, from_text](Element& element, std::string_view value) {
            const auto parsed = from_text(value);
            if (parsed) element.*member = *parsed;
            return parsed.has_value();
          },
          [member, to_text](const Element& element) -> std::optional<std::string> {
            const auto* side = std::get_if<Value>(&(element.*member));
            if (!side) return std::nullopt;
            return to_text(*side);
          }};
}

std::optional<SocketPath> read_host_socket(std::string_view value) {
  if (!is_host_socket(value)) return std::nullopt;
  return SocketPath{std::string(value)};
}

std::optional<SocketPath> read_guest_socket(std::string_view value) {
  if (!is_guest_socket(value)) return std::nullopt;
  return SocketPath{std::string(value)};
}

std::string socket_text(const SocketPath& socket) {
  return socket.path;
}

constexpr auto range_allowed = "1-65535 or a range like 8000-8009";
constexpr auto address_allowed =
    "literal IPv4 or IPv6 addresses (no name, scope, multicast or ::ffff: form)";
constexpr auto label_allowed = "1 to 256 bytes of text without control characters";

// What <forward> and <rule> share.
template <typename Element>
AttributeTable<Element> shared_rows(Attribute<Element> guest_address) {
  return {
      side_row<Element, HostSide, PortRange>("host-port", &Element::host, PortRange::parse,
                                             range_text, range_allowed),
      side_row<Element, HostSide, SocketPath>(
          "host-socket", &Element::host, read_host_socket, socket_text,
          "relative paths of at most 100 bytes without \".\" and \"..\""),
      optional_row<Element, IpAddress>("host-address", &Element::host_address, read_address,
                                       address_text, address_allowed),
      std::move(guest_address),
      word_row("protocol", &Element::protocol, Protocol::tcp),
      word_row("transport", &Element::transport, Transport::automatic),
      word_row("offload", &Element::offload, Offload::automatic),
      word_row("on-busy", &Element::on_busy, OnBusy::next),
      text_row("label", &Element::label, is_label, label_allowed),
      text_row("scheme", &Element::scheme, is_scheme,
               "URL schemes in lower case such as http, at most 32 characters"),
  };
}

template <typename Element>
AttributeTable<Element> joined(AttributeTable<Element> first, AttributeTable<Element> second) {
  std::move(second.begin(), second.end(), std::back_inserter(first));
  return first;
}

// "none" is the default: it spells an absent value.
Attribute<ForwardDefinition> idle_timeout_row() {
  return {"idle-timeout", "none or seconds, 1 to 999999999",
          [](ForwardDefinition& forward, std::string_view value) {
            const auto seconds = read_count(value);
            if (!seconds && value != "none") return false;
            forward.idle_timeout = seconds;
            return true;
          },
          [](const ForwardDefinition& forward) -> std::optional<std::string> {
            if (!forward.idle_timeout) return std::nullopt;
            return count_text(*forward.idle_timeout);
          }};
}

}  // namespace

const AttributeTable<ForwardDefinition>& forward_attributes() {
  using Forward = ForwardDefinition;
  static const AttributeTable<Forward> table = joined<Forward>(
      joined<Forward>(
          {
              text_row("name", &Forward::name, is_forward_name,
                       "1 to 64 characters without '#', control characters and outer spaces"),
              side_row<Forward, GuestSide, PortRange>("guest-port", &Forward::guest,
                                                      PortRange::parse, range_text, range_allowed),
              side_row<Forward, GuestSide, SocketPath>(
                  "guest-socket", &Forward::guest, read_guest_socket, socket_text,
                  "absolute paths of at most 107 bytes without \".\" and \"..\""),
          },
          shared_rows<Forward>(optional_row<Forward, IpAddress>(
              "guest-address", &Forward::guest_address, read_guest_address, address_text,
              std::string(address_allowed) + " but not the wildcard"))),
      {
          word_row("enabled", &Forward::enabled, true),
          word_row("required", &Forward::required, false),
          word_row("proxy-protocol", &Forward::proxy_protocol, ProxyProtocol::none),
          idle_timeout_row(),
          optional_row<Forward, std::uint32_t>("max-connections", &Forward::max_connections,
                                               read_count, count_text, "numbers, 1 to 999999999"),
      });
  return table;
}

const AttributeTable<AutoDefinition>& auto_attributes() {
  static const AttributeTable<AutoDefinition> table{
      word_row("enabled", &AutoDefinition::enabled, AutoMode::yes)};
  return table;
}

const AttributeTable<AutoRule>& rule_attributes() {
  static const AttributeTable<AutoRule> table = joined<AutoRule>(
      joined<AutoRule>(
          {
              word_row("action", &AutoRule::action, RuleAction::forward),
              optional_row<AutoRule, PortRange>("guest-port", &AutoRule::guest_port,
                                                PortRange::parse, range_text, range_allowed),
              text_row("process", &AutoRule::process, is_glob,
                       "patterns of text without control characters"),
              text_row("command", &AutoRule::command, is_glob,
                       "patterns of text without control characters"),
          },
          shared_rows<AutoRule>(
              optional_row<AutoRule, IpAddress>("guest-address", &AutoRule::guest_address,
                                                read_address, address_text, address_allowed))),
      {
          word_row("notify", &AutoRule::notify, true),
          word_row("open", &AutoRule::open, false),
          word_row("marked", &AutoRule::marked, false),
      });
  return table;
}

bool is_key_name(std::string_view value) {
  return !value.empty() && value.size() <= 64 && value.front() != '-' && value.front() != '.' &&
         all_of(value, "._-");
}

const AttributeTable<SshDefinition>& ssh_attributes() {
  static const AttributeTable<SshDefinition> table{
      text_row("user", &SshDefinition::user, is_account,
               "account names of letters, digits, '.', '_' and '-', at most 32"),
      optional_row<SshDefinition, Port>("port", &SshDefinition::port, Port::parse, port_text,
                                        "1-65535"),
      text_row("identity", &SshDefinition::identity, is_key_name,
               "names of keys in the host's policy (letters, digits, '.', '_', '-'), no path")};
  return table;
}

}  // namespace vf
