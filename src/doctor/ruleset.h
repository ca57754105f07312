// SPDX-License-Identifier: LGPL-2.1-or-later
//
// Packet filters, whoever wrote them, as far as it takes to say what becomes of one packet. What a
// rule asks that is not known of the packet, or not understood, is `maybe`.

#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

#include "base/address.h"
#include "base/result.h"
#include "core/vocabulary.h"

namespace vf {

enum class Tri { no, maybe, yes };
Tri operator!(Tri value);

// Where a packet is looked at: the families ip, ip6 and inet; bridge; netdev, and what others have
// for a device.
enum class Layer { network, bridge, device };

// A packet of a forward's connections on its way. Absent is unknown.
struct Packet {
  Layer layer = Layer::network;
  bool v6 = false;
  std::optional<std::string> in_link = "";  // empty: none; unknown ones are not "lo"
  std::optional<std::string> out_link = "";
  std::string in_bridge;  // that the link is a port of; empty: of none
  std::string out_bridge;
  std::optional<std::string> source_mac;  // in small letters
  std::optional<std::string> destination_mac;
  std::optional<IpAddress> source;
  std::optional<IpAddress> destination;
  Protocol protocol = Protocol::tcp;
  std::optional<Port> source_port;
  std::optional<Port> destination_port;
  bool established = false;          // else the first of its connection
  std::optional<std::uint32_t> uid;  // whose socket sends it
};

// What a condition compares with.
struct NumberRange {
  std::int64_t low = 0;
  std::int64_t high = 0;
};
struct AddressRange {
  IpAddress low;
  IpAddress high;
};
using FilterValue = std::variant<std::string, NumberRange, AddressRange>;
using FilterValues = std::vector<FilterValue>;

std::optional<AddressRange> subnet(const IpAddress& address, unsigned length);

// What of a packet is compared.
enum class FilterKey {
  in_link,
  out_link,
  in_bridge,
  out_bridge,
  source_mac,
  destination_mac,
  source,
  destination,
  source_port,
  destination_port,
  protocol,
  family,
  ether_type,
  state,
  uid
};
// Names of links may end in "*"; protocols, families ("ipv4", "ipv6"), types ("ip", "ip6"),
// hardware addresses and states are words.
Tri equals(FilterKey key, const FilterValues& values, const Packet& packet);

using Condition = std::function<Tri(const Packet&)>;

struct FilterRule {
  enum class Verdict { none, accept, drop, jump, go, leave };
  std::vector<Condition> conditions;
  Verdict verdict = Verdict::none;
  std::string target;     // of jump and go
  std::string text;       // for people
  bool about_us = false;  // it names a link, an address or a port
};

struct FilterChain {
  std::string name;
  std::string hook;  // "input", "output", ...; empty: another chain's rules lead here
  std::vector<std::string> devices;  // of hooks "ingress" and "egress"; empty: unknown
  bool drops = false;                // its policy
  std::vector<FilterRule> rules;
};

struct FilterTable {
  enum class Tool { nft, iptables_nft, iptables_legacy };
  Tool tool = Tool::nft;
  std::string family;  // "ip", "ip6", "inet", "bridge", "netdev"
  std::string name;
  std::map<std::string, FilterChain> chains;
};

// What of `nft -j list ruleset` can keep packets from their way. Without the tables that
// iptables-nft keeps, whose own words say more, where `without_iptables`; ours are left out.
// `chains` is what `nft list chains` prints: nft 1.0.6 tells the devices of a chain there alone.
Result<std::vector<FilterTable>> read_nft_ruleset(const std::string& json, bool without_iptables,
                                                  const std::string& chains = "");
// The same of iptables-save's output; `family` is "ip" or "ip6".
std::vector<FilterTable> read_iptables_save(const std::string& text, FilterTable::Tool tool,
                                            const std::string& family);

// What keeps a packet from its way at a hook.
struct Obstacle {
  const FilterTable* table = nullptr;
  const FilterChain* base = nullptr;   // where the kernel begins
  const FilterChain* chain = nullptr;  // that has the rule
  const FilterRule* rule = nullptr;    // null: the policy of `base`
  bool certain = false;
};
// One at most for each base chain.
std::vector<Obstacle> obstacles(const std::vector<FilterTable>& tables, std::string_view hook,
                                const Packet& packet);

}  // namespace vf
