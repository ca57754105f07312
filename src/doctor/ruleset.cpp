// SPDX-License-Identifier: LGPL-2.1-or-later

#include "doctor/ruleset.h"

#include <algorithm>
#include <array>

namespace vf {
namespace {

constexpr int most_jumps = 16;  // as deep as the kernel goes

bool link_fits(const std::string& pattern, const std::string& link) {
  if (pattern.ends_with('*')) return link.starts_with(pattern.substr(0, pattern.size() - 1));
  return pattern == link;
}

Tri link_in(const FilterValues& values, const std::optional<std::string>& link) {
  for (const FilterValue& value : values) {
    const auto* const name = std::get_if<std::string>(&value);
    if (!name) return Tri::maybe;
    if (link && link_fits(*name, *link)) return Tri::yes;
    if (!link && *name != "lo") return Tri::maybe;
  }
  return Tri::no;
}

Tri address_in(const FilterValues& values, const std::optional<IpAddress>& address, bool v6) {
  if (!address) return Tri::maybe;
  for (const FilterValue& value : values) {
    const auto* const range = std::get_if<AddressRange>(&value);
    if (!range) return Tri::maybe;
    if (range->low.is_v4() == v6) continue;
    if (!(*address < range->low) && !(range->high < *address)) return Tri::yes;
  }
  return Tri::no;
}

Tri text_in(const FilterValues& values, const std::optional<std::string>& text) {
  if (!text) return Tri::maybe;
  for (const FilterValue& value : values) {
    const auto* const one = std::get_if<std::string>(&value);
    if (!one) return Tri::maybe;
    if (*one == *text) return Tri::yes;
  }
  return Tri::no;
}

Tri number_in(const FilterValues& values, std::optional<std::int64_t> number) {
  if (!number) return Tri::maybe;
  for (const FilterValue& value : values) {
    const auto* const range = std::get_if<NumberRange>(&value);
    if (!range) return Tri::maybe;
    if (*number >= range->low && *number <= range->high) return Tri::yes;
  }
  return Tri::no;
}

Tri word_in(const FilterValues& values, std::string_view word, std::int64_t number) {
  for (const FilterValue& value : values) {
    if (const auto* const text = std::get_if<std::string>(&value); text && *text == word)
      return Tri::yes;
    if (const auto* const range = std::get_if<NumberRange>(&value);
        range && number >= range->low && number <= range->high)
      return Tri::yes;
  }
  return Tri::no;
}

std::optional<std::int64_t> number(const std::optional<Port>& port) {
  return port ? std::optional<std::int64_t>(port->number()) : std::nullopt;
}

Tri all_of(const FilterRule& rule, const Packet& packet) {
  Tri all = Tri::yes;
  for (const Condition& condition : rule.conditions)
    all = std::min(all, condition(packet));
  return all;
}

// Whether the chain is on the device that the packet comes to ("ingress") or leaves by ("egress").
Tri on_device(const FilterChain& chain, const Packet& packet) {
  if (chain.devices.empty()) return Tri::maybe;
  const FilterValues devices(chain.devices.begin(), chain.devices.end());
  return link_in(devices, chain.hook == "ingress" ? packet.in_link : packet.out_link);
}

// Follows a packet through one base chain.
class Walk {
 public:
  Walk(const FilterTable& table, const FilterChain& base, const Packet& packet)
      : table_(table), base_(base), packet_(packet) {}

  std::optional<Obstacle> obstacle() {
    const End end = through(base_, 0);
    if (end == End::dropped) return found_;
    if (end == End::on && base_.drops)
      return Obstacle{&table_, &base_, &base_, nullptr, !accepted_maybe_};
    return dropped_maybe_;
  }

 private:
  enum class End { on, accepted, dropped };

  End through(const FilterChain& chain, int depth) {
    for (const FilterRule& rule : chain.rules) {
      const Tri fits = all_of(rule, packet_);
      if (fits == Tri::no || rule.verdict == FilterRule::Verdict::none) continue;
      const bool sure = fits == Tri::yes;
      switch (rule.verdict) {
        case FilterRule::Verdict::accept:
          if (sure) return End::accepted;
          accepted_maybe_ = true;
          break;
        case FilterRule::Verdict::drop:
          if (sure) {
            found_ = {&table_, &base_, &chain, &rule, !accepted_maybe_};
            return End::dropped;
          }
          if (rule.about_us && !dropped_maybe_)
            dropped_maybe_ = Obstacle{&table_, &base_, &chain, &rule, false};
          break;
        case FilterRule::Verdict::leave:
          if (sure) return End::on;
          break;
        case FilterRule::Verdict::jump:
        case FilterRule::Verdict::go: {
          const auto next = table_.chains.find(rule.target);
          if (next == table_.chains.end() || depth >= most_jumps) break;
          if (!sure) {  // what is said there is as good as unknown
            accepted_maybe_ = true;
            break;
          }
          const End end = through(next->second, depth + 1);
          if (end != End::on) return end;
          if (rule.verdict == FilterRule::Verdict::go) return End::on;
          break;
        }
        case FilterRule::Verdict::none:
          break;
      }
    }
    return End::on;
  }

  const FilterTable& table_;
  const FilterChain& base_;
  const Packet& packet_;
  Obstacle found_;
  std::optional<Obstacle> dropped_maybe_;
  bool accepted_maybe_ = false;
};

}  // namespace

Tri operator!(Tri value) {
  return value == Tri::yes ? Tri::no : value == Tri::no ? Tri::yes : Tri::maybe;
}

std::optional<AddressRange> subnet(const IpAddress& address, unsigned length) {
  std::array<std::uint8_t, 16> low{};
  std::array<std::uint8_t, 16> high{};
  const auto bytes = address.bytes();
  if (length > bytes.size() * 8) return std::nullopt;
  for (std::size_t i = 0; i < bytes.size(); ++i) {
    const unsigned before = static_cast<unsigned>(i) * 8;
    const unsigned fixed = length > before ? std::min(8u, length - before) : 0u;
    const auto mask = static_cast<std::uint8_t>(0xff00u >> fixed);
    low[i] = bytes[i] & mask;
    high[i] = static_cast<std::uint8_t>(low[i] | static_cast<std::uint8_t>(~mask));
  }
  const auto first = IpAddress::from_bytes(std::span(low).first(bytes.size()));
  const auto last = IpAddress::from_bytes(std::span(high).first(bytes.size()));
  if (!first || !last) return std::nullopt;
  return AddressRange{*first, *last};
}

Tri equals(FilterKey key, const FilterValues& values, const Packet& packet) {
  const bool tcp = packet.protocol == Protocol::tcp;
  switch (key) {
    case FilterKey::in_link:
      return link_in(values, packet.in_link);
    case FilterKey::out_link:
      return link_in(values, packet.out_link);
    case FilterKey::in_bridge:
      return link_in(values, packet.in_bridge);
    case FilterKey::out_bridge:
      return link_in(values, packet.out_bridge);
    case FilterKey::source_mac:
      return text_in(values, packet.source_mac);
    case FilterKey::destination_mac:
      return text_in(values, packet.destination_mac);
    case FilterKey::source:
      return address_in(values, packet.source, packet.v6);
    case FilterKey::destination:
      return address_in(values, packet.destination, packet.v6);
    case FilterKey::source_port:
      return number_in(values, number(packet.source_port));
    case FilterKey::destination_port:
      return number_in(values, number(packet.destination_port));
    case FilterKey::protocol:
      return word_in(values, tcp ? "tcp" : "udp", tcp ? 6 : 17);
    case FilterKey::family:
      return word_in(values, packet.v6 ? "ipv6" : "ipv4", packet.v6 ? 10 : 2);
    case FilterKey::ether_type:
      return word_in(values, packet.v6 ? "ip6" : "ip", packet.v6 ? 0x86dd : 0x0800);
    case FilterKey::state:
      return word_in(values, packet.established ? "established" : "new",
                     packet.established ? 2 : 8);
    case FilterKey::uid:
      return number_in(values,
                       packet.uid ? std::optional<std::int64_t>(*packet.uid) : std::nullopt);
  }
  return Tri::maybe;
}

std::vector<Obstacle> obstacles(const std::vector<FilterTable>& tables, std::string_view hook,
                                const Packet& packet) {
  std::vector<Obstacle> found;
  for (const FilterTable& table : tables) {
    if (table.family == (packet.v6 ? "ip" : "ip6")) continue;
    if (packet.layer != Layer::device &&
        (table.family == "bridge") != (packet.layer == Layer::bridge))
      continue;
    for (const auto& [name, chain] : table.chains) {
      if (chain.hook != hook) continue;
      const Tri here = packet.layer == Layer::device ? on_device(chain, packet) : Tri::yes;
      if (here == Tri::no) continue;
      auto obstacle = Walk(table, chain, packet).obstacle();
      if (!obstacle) continue;
      obstacle->certain = obstacle->certain && here == Tri::yes;
      found.push_back(*obstacle);
    }
  }
  return found;
}

}  // namespace vf
