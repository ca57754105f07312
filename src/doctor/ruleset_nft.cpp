// SPDX-License-Identifier: LGPL-2.1-or-later
//
// libnftables-json(5), as nftables 1.0 writes it.

#include <json-glib/json-glib.h>

#include <algorithm>
#include <sstream>

#include "base/printable.h"
#include "doctor/ruleset.h"
#include "glib/ref.h"

namespace vf {
namespace {

using Sets = std::map<std::string, JsonNode*>;  // "family table name" -> its elements

JsonObject* object_of(JsonNode* node) {
  return node && JSON_NODE_HOLDS_OBJECT(node) ? json_node_get_object(node) : nullptr;
}

JsonNode* member(JsonObject* object, const char* name) {
  return object ? json_object_get_member(object, name) : nullptr;
}

std::string text_of(JsonNode* node) {
  if (!node || !JSON_NODE_HOLDS_VALUE(node)) return {};
  if (json_node_get_value_type(node) == G_TYPE_INT64)
    return std::to_string(json_node_get_int(node));
  const gchar* const text = json_node_get_string(node);
  return text ? text : "";
}

std::string text_of(JsonObject* object, const char* name) {
  return text_of(member(object, name));
}

template <typename Each>
void for_each_element(JsonNode* node, Each each) {
  if (!node || !JSON_NODE_HOLDS_ARRAY(node)) return;
  JsonArray* const array = json_node_get_array(node);
  for (guint i = 0; i < json_array_get_length(array); ++i)
    each(json_array_get_element(array, i));
}

// A value as nft would write it.
std::string words(JsonNode* node) {
  if (!node) return {};
  if (JSON_NODE_HOLDS_VALUE(node)) return text_of(node);
  if (JSON_NODE_HOLDS_ARRAY(node)) {
    std::string list;
    for_each_element(node, [&](JsonNode* one) { list += (list.empty() ? "" : ", ") + words(one); });
    return list;
  }
  JsonObject* const object = object_of(node);
  if (!object) return "?";
  if (JsonObject* const prefix = object_of(member(object, "prefix")))
    return text_of(prefix, "addr") + '/' + text_of(prefix, "len");
  if (JsonNode* const set = member(object, "set")) return "{ " + words(set) + " }";
  if (JsonNode* const range = member(object, "range"); range && JSON_NODE_HOLDS_ARRAY(range)) {
    JsonArray* const ends = json_node_get_array(range);
    if (json_array_get_length(ends) == 2)
      return words(json_array_get_element(ends, 0)) + '-' + words(json_array_get_element(ends, 1));
  }
  if (JsonObject* const payload = object_of(member(object, "payload")))
    return text_of(payload, "protocol") + ' ' + text_of(payload, "field");
  if (JsonObject* const meta = object_of(member(object, "meta"))) return text_of(meta, "key");
  if (JsonObject* const ct = object_of(member(object, "ct"))) return "ct " + text_of(ct, "key");
  return "…";
}

class Reader {
 public:
  explicit Reader(Sets sets) : sets_(std::move(sets)) {}

  // One rule, or several where it ends in a verdict map.
  void read(JsonObject* rule, const std::string& place, std::vector<FilterRule>& into) {
    place_ = place;
    FilterRule read;
    std::vector<FilterRule> branches;
    for_each_element(member(rule, "expr"), [&](JsonNode* node) {
      JsonObject* const expression = object_of(node);
      if (expression) this->expression(expression, read, branches);
    });
    const auto finish = [&](FilterRule& one) {
      one.text = printable(one.text, 200);
      if (!one.text.empty() && one.text.front() == ' ') one.text.erase(0, 1);
      into.push_back(std::move(one));
    };
    if (branches.empty()) return finish(read);
    for (FilterRule& branch : branches)
      finish(branch);
  }

 private:
  static void unknown(FilterRule& rule) {
    rule.conditions.push_back([](const Packet&) { return Tri::maybe; });
  }

  void expression(JsonObject* expression, FilterRule& rule, std::vector<FilterRule>& branches) {
    if (JsonObject* const match = object_of(member(expression, "match")))
      return this->match(match, rule);
    if (JsonObject* const map = object_of(member(expression, "vmap")))
      return this->map(map, rule, branches);
    if (verdict(expression, rule)) return;
    // Neither stops a packet nor asks anything of it.
    for (const char* const harmless :
         {"counter", "log", "mangle", "meter", "notrack", "set", "add"})
      if (member(expression, harmless)) return;
    if (JsonObject* const xt = object_of(member(expression, "xt"))) {
      const std::string name = text_of(xt, "name");
      rule.text += ' ' + name;
      if (text_of(xt, "type") != "target") {
        if (name != "comment") unknown(rule);
      } else if (name == "REJECT") {
        rule.verdict = FilterRule::Verdict::drop;
      }
      return;
    }
    rule.text += " …";
    unknown(rule);
  }

  static bool verdict(JsonObject* expression, FilterRule& rule) {
    using Verdict = FilterRule::Verdict;
    const std::pair<const char*, Verdict> plain[] = {{"accept", Verdict::accept},
                                                     {"drop", Verdict::drop},
                                                     {"reject", Verdict::drop},
                                                     {"return", Verdict::leave}};
    for (const auto& [name, meaning] : plain) {
      if (!json_object_has_member(expression, name)) continue;
      rule.verdict = meaning;
      rule.text += std::string(" ") + name;
      return true;
    }
    for (const auto& [name, meaning] :
         {std::pair("jump", Verdict::jump), std::pair("goto", Verdict::go)}) {
      JsonObject* const leads = object_of(member(expression, name));
      if (!leads) continue;
      rule.verdict = meaning;
      rule.target = text_of(leads, "target");
      rule.text += std::string(" ") + name + ' ' + rule.target;
      return true;
    }
    return false;
  }

  // What is compared, and what that says of the packet by itself.
  struct Left {
    std::optional<FilterKey> key;
    std::optional<bool> v6;            // the packet has to be
    std::optional<Protocol> protocol;  // the packet has to be of
  };

  static std::optional<FilterKey> ether_key(const std::string& field) {
    if (field == "saddr") return FilterKey::source_mac;
    if (field == "daddr") return FilterKey::destination_mac;
    if (field == "type") return FilterKey::ether_type;
    return std::nullopt;
  }

  static Left left_of(JsonNode* node) {
    JsonObject* const object = object_of(node);
    Left left;
    if (JsonObject* const meta = object_of(member(object, "meta"))) {
      const std::map<std::string, FilterKey, std::less<>> keys{
          {"iifname", FilterKey::in_link},     {"iif", FilterKey::in_link},
          {"oifname", FilterKey::out_link},    {"oif", FilterKey::out_link},
          {"ibrname", FilterKey::in_bridge},   {"obrname", FilterKey::out_bridge},
          {"protocol", FilterKey::ether_type}, {"l4proto", FilterKey::protocol},
          {"nfproto", FilterKey::family},      {"skuid", FilterKey::uid}};
      if (const auto key = keys.find(text_of(meta, "key")); key != keys.end())
        left.key = key->second;
    } else if (JsonObject* const ct = object_of(member(object, "ct"))) {
      if (text_of(ct, "key") == "state") left.key = FilterKey::state;
    } else if (JsonObject* const payload = object_of(member(object, "payload"))) {
      const std::string protocol = text_of(payload, "protocol");
      const std::string field = text_of(payload, "field");
      if (protocol == "ip" || protocol == "ip6") left.v6 = protocol == "ip6";
      if (protocol == "tcp" || protocol == "udp") left.protocol = parse<Protocol>(protocol);
      if (field == "daddr") left.key = FilterKey::destination;
      if (field == "saddr") left.key = FilterKey::source;
      if (field == "protocol" || field == "nexthdr") left.key = FilterKey::protocol;
      if (field == "dport") left.key = FilterKey::destination_port;
      if (field == "sport") left.key = FilterKey::source_port;
      if (protocol == "ether") left.key = ether_key(field);
    }
    return left;
  }

  void match(JsonObject* match, FilterRule& rule) {
    JsonNode* const right = member(match, "right");
    const std::string op = text_of(match, "op");
    rule.text += ' ' + words(member(match, "left")) + (op == "!=" ? " != " : " ") + words(right);
    if (!flags(member(match, "left"), right, op, rule))
      compare(member(match, "left"), right, op, rule);
  }

  // "tcp flags & (syn | ack) == syn": the first packet of a connection has SYN, the others ACK.
  bool flags(JsonNode* left, JsonNode* right, const std::string& op, FilterRule& rule) const {
    JsonNode* const sides = member(object_of(left), "&");
    if (!sides || !JSON_NODE_HOLDS_ARRAY(sides) ||
        json_array_get_length(json_node_get_array(sides)) != 2)
      return false;
    JsonObject* const payload = object_of(
        member(object_of(json_array_get_element(json_node_get_array(sides), 0)), "payload"));
    std::optional<FilterValues> mask = FilterValues();
    std::optional<FilterValues> wanted = FilterValues();
    collect(json_array_get_element(json_node_get_array(sides), 1), mask);
    collect(right, wanted);
    if (text_of(payload, "protocol") != "tcp" || text_of(payload, "field") != "flags" || !mask ||
        !wanted)
      return false;
    const auto names = [](const FilterValues& values, const char* name) {
      return std::ranges::any_of(values, [&](const FilterValue& value) {
        const auto* const word = std::get_if<std::string>(&value);
        return word && *word == name;
      });
    };
    const auto fits = [&](const char* flag) {
      return wanted->size() == (names(*mask, flag) ? 1u : 0u) &&
             (wanted->empty() || names(*wanted, flag));
    };
    rule.conditions.push_back(
        [first = fits("syn"), later = fits("ack"), no = op == "!="](const Packet& packet) {
          if (packet.protocol != Protocol::tcp) return Tri::no;
          return (packet.established ? later : first) != no ? Tri::yes : Tri::no;
        });
    return true;
  }

  void compare(JsonNode* left_node, JsonNode* right, const std::string& op, FilterRule& rule) {
    const Left left = left_of(left_node);
    std::optional<FilterValues> values = FilterValues();
    collect(right, values);
    if (left.v6)
      rule.conditions.push_back(
          [v6 = *left.v6](const Packet& packet) { return packet.v6 == v6 ? Tri::yes : Tri::no; });
    if (left.protocol)
      rule.conditions.push_back([protocol = *left.protocol](const Packet& packet) {
        return packet.protocol == protocol ? Tri::yes : Tri::no;
      });
    const bool plain = op == "==" || op == "!=" || op == "in";
    if (!left.key || !values || !plain) return unknown(rule);
    rule.about_us = rule.about_us || *left.key <= FilterKey::destination_port;
    rule.conditions.push_back(
        [key = *left.key, values = *values, no = op == "!="](const Packet& packet) {
          const Tri equal = equals(key, values, packet);
          return no ? !equal : equal;
        });
  }

  void map(JsonObject* map, const FilterRule& rule, std::vector<FilterRule>& branches) {
    JsonNode* data = member(map, "data");
    if (const std::string name = text_of(data); name.starts_with('@')) {
      const auto found = sets_.find(place_ + ' ' + name.substr(1));
      data = found == sets_.end() ? nullptr : found->second;
    } else {
      data = member(object_of(data), "set");
    }
    for_each_element(data, [&](JsonNode* pair) {
      if (!JSON_NODE_HOLDS_ARRAY(pair) || json_array_get_length(json_node_get_array(pair)) != 2)
        return;
      JsonNode* const value = json_array_get_element(json_node_get_array(pair), 0);
      JsonObject* const outcome = object_of(json_array_get_element(json_node_get_array(pair), 1));
      FilterRule branch = rule;
      branch.text += ' ' + words(member(map, "key")) + ' ' + words(value);
      compare(member(map, "key"), value, "==", branch);
      if (outcome) verdict(outcome, branch);
      branches.push_back(std::move(branch));
    });
    if (branches.empty()) branches.push_back(rule);
  }

  // Into one list whatever sets, lists, ranges and names of sets say; nothing where something of it
  // is of another kind.
  void collect(JsonNode* node, std::optional<FilterValues>& values) const {
    if (!values || !node) return;
    if (JSON_NODE_HOLDS_ARRAY(node)) {
      for_each_element(node, [&](JsonNode* one) { collect(one, values); });
    } else if (JsonObject* const object = object_of(node)) {
      if (JsonNode* const set = member(object, "set")) return collect(set, values);
      if (JsonObject* const element = object_of(member(object, "elem")))
        return collect(member(element, "val"), values);
      const auto range = range_of(object);
      if (range)
        values->push_back(*range);
      else
        values.reset();
    } else if (JSON_NODE_HOLDS_VALUE(node) && json_node_get_value_type(node) == G_TYPE_INT64) {
      values->push_back(NumberRange{json_node_get_int(node), json_node_get_int(node)});
    } else {
      const std::string text = text_of(node);
      if (text.starts_with('@')) {
        const auto set = sets_.find(place_ + ' ' + text.substr(1));
        if (set == sets_.end()) return;  // an empty one
        return collect(set->second, values);
      }
      if (const auto address = IpAddress::parse(text))
        values->push_back(AddressRange{*address, *address});
      else
        values->push_back(text);
    }
  }

  static std::optional<FilterValue> range_of(JsonObject* object) {
    if (JsonObject* const prefix = object_of(member(object, "prefix"))) {
      const auto address = IpAddress::parse(text_of(prefix, "addr"));
      const auto net =
          address ? subnet(*address, static_cast<unsigned>(json_object_get_int_member_with_default(
                                         prefix, "len", 999)))
                  : std::nullopt;
      if (net) return FilterValue(*net);
    }
    JsonNode* const range = member(object, "range");
    if (!range || !JSON_NODE_HOLDS_ARRAY(range) ||
        json_array_get_length(json_node_get_array(range)) != 2)
      return std::nullopt;
    JsonNode* const low = json_array_get_element(json_node_get_array(range), 0);
    JsonNode* const high = json_array_get_element(json_node_get_array(range), 1);
    const auto from = IpAddress::parse(text_of(low));
    const auto to = IpAddress::parse(text_of(high));
    if (from && to) return FilterValue(AddressRange{*from, *to});
    if (JSON_NODE_HOLDS_VALUE(low) && json_node_get_value_type(low) == G_TYPE_INT64)
      return FilterValue(NumberRange{json_node_get_int(low), json_node_get_int(high)});
    return std::nullopt;
  }

  Sets sets_;
  std::string place_;
};

// Of lines "table netdev low {", "chain out {" and "type filter hook egress device "eth0" ..." or
// "... devices = { "eth0", "eth1" } ...".
void read_devices(const std::string& chains, std::map<std::string, FilterTable>& tables) {
  std::istringstream lines(chains);
  std::string line;
  FilterTable* table = nullptr;
  FilterChain* chain = nullptr;
  while (std::getline(lines, line)) {
    std::istringstream parts(line);
    std::string word;
    std::string name;
    parts >> word >> name;
    if (word == "table") {
      std::string second;
      parts >> second;
      const auto found = tables.find(name + ' ' + second);
      table = found == tables.end() ? nullptr : &found->second;
      chain = nullptr;
    } else if (word == "chain") {
      chain = nullptr;
      if (!table) continue;
      const auto found = table->chains.find(name);
      if (found != table->chains.end()) chain = &found->second;
    } else if (const std::size_t at = line.find(" device"); at != std::string::npos) {
      if (!chain || !chain->devices.empty()) continue;
      const std::size_t begin = line.find(' ', at + 1);
      std::string names = line.substr(begin, line.find(" priority") - begin);
      for (char& one : names)
        if (std::string_view("={},\"").find(one) != std::string_view::npos) one = ' ';
      std::istringstream list(names);
      while (list >> name)
        chain->devices.push_back(name);
    }
  }
}

bool is_iptables(const FilterTable& table) {
  if (table.family != "ip" && table.family != "ip6") return false;
  return std::ranges::any_of(table.chains, [](const auto& chain) {
    return chain.second.hook == "input" ? chain.first == "INPUT"
                                        : chain.second.hook == "output" && chain.first == "OUTPUT";
  });
}

}  // namespace

Result<std::vector<FilterTable>> read_nft_ruleset(const std::string& json, bool without_iptables,
                                                  const std::string& chains) {
  const auto parser = adopt(json_parser_new());
  GErrorOut error;
  if (!json_parser_load_from_data(parser.get(), json.data(), static_cast<gssize>(json.size()),
                                  error.out()))
    return Unexpected(ErrorCode::failed, "nftables' answer cannot be read: " + error.message());
  JsonNode* const all = member(object_of(json_parser_get_root(parser.get())), "nftables");
  std::map<std::string, FilterTable> tables;
  Sets sets;
  const auto place = [](JsonObject* object, const char* name) {
    return text_of(object, "family") + ' ' + text_of(object, name);
  };
  for_each_element(all, [&](JsonNode* node) {
    JsonObject* const object = object_of(node);
    for (const char* const kind : {"set", "map"})
      if (JsonObject* const set = object_of(member(object, kind)))
        if (JsonNode* const elements = member(set, "elem"))
          sets[place(set, "table") + ' ' + text_of(set, "name")] = elements;
    JsonObject* const chain = object_of(member(object, "chain"));
    if (!chain) return;
    FilterTable& table = tables[place(chain, "table")];
    table.family = text_of(chain, "family");
    table.name = text_of(chain, "table");
    FilterChain& made = table.chains[text_of(chain, "name")];
    made.name = text_of(chain, "name");
    if (text_of(chain, "type") == "filter") made.hook = text_of(chain, "hook");
    if (JsonNode* const device = member(chain, "dev")) {
      if (JSON_NODE_HOLDS_VALUE(device)) made.devices.push_back(text_of(device));
      for_each_element(device, [&](JsonNode* one) { made.devices.push_back(text_of(one)); });
    }
    made.drops = text_of(chain, "policy") == "drop";
  });
  read_devices(chains, tables);
  Reader reader(std::move(sets));
  for_each_element(all, [&](JsonNode* node) {
    JsonObject* const rule = object_of(member(object_of(node), "rule"));
    if (!rule) return;
    const auto table = tables.find(place(rule, "table"));
    if (table == tables.end()) return;
    const auto chain = table->second.chains.find(text_of(rule, "chain"));
    if (chain != table->second.chains.end()) reader.read(rule, table->first, chain->second.rules);
  });
  std::vector<FilterTable> result;
  for (auto& [key, table] : tables) {
    if (table.name.starts_with("virt_forward")) continue;
    if (is_iptables(table)) {
      if (without_iptables) continue;
      table.tool = FilterTable::Tool::iptables_nft;
    }
    result.push_back(std::move(table));
  }
  return result;
}

}  // namespace vf
