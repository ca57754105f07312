// SPDX-License-Identifier: LGPL-2.1-or-later

#include "offload/nft_ruleset.h"

#include <net/if.h>

namespace vf {
namespace {

constexpr std::string_view map_type =
    "{ type ipv4_addr . inet_service : ipv4_addr . inet_service; }";

std::string command(std::string_view what, std::string_view table, std::string_view rest = {}) {
  std::string text(what);
  text.append(" ip ").append(table);
  if (!rest.empty()) text.append(" ").append(rest);
  return text.append("\n");
}

std::string guard_chain(std::string_view table) {
  return command("add chain", table, "guard { type filter hook prerouting priority raw; }") +
         command("add rule", table, "guard iifname != \"lo\" ip saddr 127.0.0.0/8 drop") +
         command("add rule", table, "guard iifname != \"lo\" ip daddr 127.0.0.0/8 drop");
}

void append(std::string& list, const std::string& element) {
  if (!list.empty()) list += ", ";
  list += element;
}

std::string key(const Endpoint& endpoint) {
  return endpoint.address.text() + " . " + std::to_string(endpoint.port.number());
}

}  // namespace

bool is_plain_link_name(std::string_view name) {
  constexpr std::string_view plain =
      "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_.:@";
  return !name.empty() && name.size() < IFNAMSIZ &&
         name.find_first_not_of(plain) == std::string_view::npos;
}

std::string nft_make_own_table() {
  constexpr std::string_view table = nft_own_table;
  return command("add table", table, "{ flags owner; }") + guard_chain(table) +
         command("add map", table, "tcp_forwards " + std::string(map_type)) +
         command("add map", table, "udp_forwards " + std::string(map_type)) +
         command("add set", table, "bridges { type ifname; }") +
         command("add chain", table, "output { type nat hook output priority -100; }") +
         command("add rule", table,
                 "output oifname \"lo\" ip saddr 127.0.0.0/8 tcp flags & (fin|syn|rst|ack) == syn "
                 "dnat to ip daddr . tcp dport map @tcp_forwards") +
         command("add rule", table,
                 "output oifname \"lo\" ip saddr 127.0.0.0/8 "
                 "dnat to ip daddr . udp dport map @udp_forwards") +
         command("add chain", table, "source { type nat hook postrouting priority srcnat; }") +
         command("add rule", table,
                 "source ip saddr 127.0.0.0/8 oifname @bridges ct status dnat masquerade");
}

std::string nft_make_guard_table() {
  constexpr std::string_view table = nft_guard_table;
  return nft_remove_guard_table() + command("add table", table) + guard_chain(table) +
         command("add chain", table, "established { type nat hook output priority -100; }") +
         // Decides nothing: the kernel tracks connections only while some rule asks about them.
         command("add rule", table, "established ct status dnat");
}

std::string nft_empty_own_table() {
  return command("flush map", nft_own_table, "tcp_forwards") +
         command("flush map", nft_own_table, "udp_forwards");
}

std::string nft_remove_own_table() {
  return command("delete table", nft_own_table);
}

std::string nft_remove_guard_table() {
  // What is not there cannot be deleted.
  return command("add table", nft_guard_table) + command("delete table", nft_guard_table);
}

void NftChange::remove(const NftElement& element) {
  append(removed_.of(element.protocol), key(element.host));
}

void NftChange::add(const NftElement& element) {
  append(added_.of(element.protocol), key(element.host) + " : " + key(element.guest));
}

void NftChange::remove_bridge(const std::string& name) {
  append(removed_.bridges, '"' + name + '"');
}

void NftChange::add_bridge(const std::string& name) {
  append(added_.bridges, '"' + name + '"');
}

void NftChange::append_commands(std::string& text, std::string_view verb, const Lists& lists) {
  const auto append_list = [&](std::string_view set, const std::string& list) {
    if (list.empty()) return;
    text.append(verb).append(" element ip ").append(nft_own_table).append(" ").append(set);
    text.append(" { ").append(list).append(" }\n");
  };
  append_list("tcp_forwards", lists.tcp);
  append_list("udp_forwards", lists.udp);
  append_list("bridges", lists.bridges);
}

std::string NftChange::text() const {
  std::string text;
  append_commands(text, "delete", removed_);
  append_commands(text, "add", added_);
  return text;
}

}  // namespace vf
