// SPDX-License-Identifier: LGPL-2.1-or-later

#include "plugin/netlink_messages.h"

#include <libmnl/libmnl.h>
#include <linux/if_addr.h>
#include <linux/if_link.h>
#include <linux/neighbour.h>
#include <linux/rtnetlink.h>

#include <algorithm>
#include <charconv>
#include <span>
#include <string_view>

namespace vf {
namespace {

// The attributes behind a message's fixed header, by type; the last of a kind wins.
template <std::size_t count>
class Attributes {
 public:
  Attributes(const nlmsghdr* message, std::size_t header) {
    if (mnl_nlmsg_get_payload_len(message) >= header)
      mnl_attr_parse(message, static_cast<unsigned>(header), note, this);
  }
  explicit Attributes(const nlattr* nest) {
    if (nest) mnl_attr_parse_nested(nest, note, this);
  }

  const nlattr* operator[](std::size_t type) const { return found_[type]; }

  std::uint32_t number(std::size_t type) const {
    const nlattr* attribute = found_[type];
    return attribute && mnl_attr_get_payload_len(attribute) == 4 ? mnl_attr_get_u32(attribute) : 0;
  }

  std::span<const std::uint8_t> bytes(std::size_t type) const {
    const nlattr* attribute = found_[type];
    if (!attribute) return {};
    return {static_cast<const std::uint8_t*>(mnl_attr_get_payload(attribute)),
            mnl_attr_get_payload_len(attribute)};
  }

  std::string text(std::size_t type) const {
    const auto raw = bytes(type);
    return {raw.begin(), std::find(raw.begin(), raw.end(), std::uint8_t{0})};
  }

 private:
  static int note(const nlattr* attribute, void* self) noexcept {
    const std::size_t type = mnl_attr_get_type(attribute);
    if (type < count) static_cast<Attributes*>(self)->found_[type] = attribute;
    return MNL_CB_OK;
  }

  std::array<const nlattr*, count> found_{};
};

template <typename Header>
const Header* header_of(const nlmsghdr* message) {
  if (mnl_nlmsg_get_payload_len(message) < sizeof(Header)) return nullptr;
  return static_cast<const Header*>(mnl_nlmsg_get_payload(message));
}

std::string mac_of(std::span<const std::uint8_t> bytes) {
  MacBytes mac{};
  if (bytes.size() != mac.size()) return {};
  std::copy(bytes.begin(), bytes.end(), mac.begin());
  return mac_text(mac);
}

void report_link(const nlmsghdr* message, Netlink::Observer& observer) {
  const auto* header = header_of<ifinfomsg>(message);
  // What a bridge says of its ports comes under the same type.
  if (!header || header->ifi_family == AF_BRIDGE) return;
  const auto index = static_cast<std::uint32_t>(header->ifi_index);
  if (message->nlmsg_type == RTM_DELLINK) {
    observer.link_removed(index);
    return;
  }
  const Attributes<IFLA_MASTER + 1> attributes(message, sizeof *header);
  if (!attributes[IFLA_IFNAME]) return;
  observer.link_changed({index, attributes.text(IFLA_IFNAME), attributes.number(IFLA_MASTER)});
}

void report_address(const nlmsghdr* message, Netlink::Observer& observer) {
  const auto* header = header_of<ifaddrmsg>(message);
  if (!header) return;
  const Attributes<IFA_LOCAL + 1> attributes(message, sizeof *header);
  const auto scope = static_cast<std::uint32_t>(header->ifa_index);
  const auto network = IpAddress::from_bytes(attributes.bytes(IFA_ADDRESS), scope);
  // IPv6 has no IFA_LOCAL where there is no peer.
  const auto local =
      attributes[IFA_LOCAL] ? IpAddress::from_bytes(attributes.bytes(IFA_LOCAL), scope) : network;
  if (!network || !local) return;
  const HostAddress address{scope, *local, *network, header->ifa_prefixlen};
  if (message->nlmsg_type == RTM_NEWADDR)
    observer.host_address_added(address);
  else
    observer.host_address_removed(address);
}

NeighbourState state_of(std::uint16_t state) {
  if (state & NUD_FAILED) return NeighbourState::failed;
  if (state & (NUD_REACHABLE | NUD_PERMANENT)) return NeighbourState::reachable;
  if (state & (NUD_DELAY | NUD_PROBE)) return NeighbourState::checking;
  if (state & NUD_STALE) return NeighbourState::stale;
  return NeighbourState::incomplete;
}

void report_neighbour(const nlmsghdr* message, Netlink::Observer& observer) {
  const auto* header = header_of<ndmsg>(message);
  if (!header) return;
  if (header->ndm_family == AF_BRIDGE) {
    if (const auto entry = parse_forwarding(message); entry && !entry->local)
      observer.forwarding_changed(entry->mac);
    return;
  }
  // NOARP: broadcast, multicast, and links where nobody is asked for.
  if (header->ndm_state & NUD_NOARP || header->ndm_flags & NTF_PROXY) return;
  const Attributes<NDA_LLADDR + 1> attributes(message, sizeof *header);
  const auto link = static_cast<std::uint32_t>(header->ndm_ifindex);
  const auto address = IpAddress::from_bytes(attributes.bytes(NDA_DST), link);
  if (!address) return;
  Neighbour neighbour{{link, *address}, state_of(header->ndm_state), {}};
  if (message->nlmsg_type == RTM_DELNEIGH) neighbour.state = NeighbourState::gone;
  if (neighbour.state >= NeighbourState::stale)
    neighbour.mac = mac_of(attributes.bytes(NDA_LLADDR));
  observer.neighbour_changed(neighbour);
}

}  // namespace

std::optional<MacBytes> parse_mac(const std::string& text) {
  MacBytes mac{};
  if (text.size() != mac.size() * 3 - 1) return std::nullopt;
  for (std::size_t i = 0; i < mac.size(); ++i) {
    const char* begin = text.data() + i * 3;
    const auto [end, error] = std::from_chars(begin, begin + 2, mac[i], 16);
    if (error != std::errc{} || end != begin + 2) return std::nullopt;
    if (i + 1 < mac.size() && *end != ':') return std::nullopt;
  }
  return mac;
}

std::string mac_text(const MacBytes& mac) {
  constexpr std::string_view digits = "0123456789abcdef";
  std::string text;
  for (const std::uint8_t byte : mac) {
    if (!text.empty()) text += ':';
    text += digits[byte >> 4];
    text += digits[byte & 15];
  }
  return text;
}

void report(const nlmsghdr* message, Netlink::Observer& observer) {
  switch (message->nlmsg_type) {
    case RTM_NEWLINK:
    case RTM_DELLINK:
      report_link(message, observer);
      break;
    case RTM_NEWADDR:
    case RTM_DELADDR:
      report_address(message, observer);
      break;
    case RTM_NEWNEIGH:
    case RTM_DELNEIGH:
      report_neighbour(message, observer);
      break;
    case RTM_NEWROUTE:
    case RTM_DELROUTE:
      observer.routes_changed();
      break;
    default:
      break;
  }
}

std::optional<Forwarding> parse_forwarding(const nlmsghdr* message) {
  const auto* header = header_of<ndmsg>(message);
  if (!header || header->ndm_family != AF_BRIDGE) return std::nullopt;
  const Attributes<NDA_MASTER + 1> attributes(message, sizeof *header);
  Forwarding entry;
  entry.bridge = attributes.number(NDA_MASTER);
  entry.port = static_cast<std::uint32_t>(header->ndm_ifindex);
  entry.mac = mac_of(attributes.bytes(NDA_LLADDR));
  entry.local = (header->ndm_state & NUD_PERMANENT) != 0;
  if (entry.bridge == 0 || entry.mac.empty()) return std::nullopt;
  return entry;
}

std::optional<std::uint32_t> parse_direct_route(const nlmsghdr* message) {
  const auto* header = header_of<rtmsg>(message);
  if (!header || message->nlmsg_type != RTM_NEWROUTE || header->rtm_type != RTN_UNICAST)
    return std::nullopt;
  const Attributes<RTA_VIA + 1> attributes(message, sizeof *header);
  if (attributes[RTA_GATEWAY] || attributes[RTA_VIA] || !attributes[RTA_OIF]) return std::nullopt;
  return attributes.number(RTA_OIF);
}

bool parse_vlan_filter(const nlmsghdr* message) {
  const auto* header = header_of<ifinfomsg>(message);
  if (!header) return false;
  const Attributes<IFLA_LINKINFO + 1> attributes(message, sizeof *header);
  const Attributes<IFLA_INFO_DATA + 1> info(attributes[IFLA_LINKINFO]);
  if (info.text(IFLA_INFO_KIND) != "bridge") return false;
  const Attributes<IFLA_BR_VLAN_FILTERING + 1> data(info[IFLA_INFO_DATA]);
  const auto value = data.bytes(IFLA_BR_VLAN_FILTERING);
  return value.size() == 1 && value[0] != 0;
}

}  // namespace vf
