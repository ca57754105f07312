// SPDX-License-Identifier: LGPL-2.1-or-later
//
// AddressTrust: whom to ask, and what to believe.

#include <algorithm>
#include <tuple>
#include <utility>

#include "plugin/address_trust.h"

namespace vf {
namespace {

bool is_multicast(const IpAddress& address) {
  const std::uint8_t first = address.bytes()[0];
  return address.is_v4() ? first >= 224 : first == 0xff;
}

// The first and the last address of an IPv4 subnet stand for the subnet.
bool is_edge(const IpAddress& address, unsigned length) {
  if (!address.is_v4() || length >= 31) return false;
  std::uint32_t number = 0;
  for (const std::uint8_t byte : address.bytes())
    number = number << 8 | byte;
  const std::uint32_t host_mask = length == 0 ? 0xffffffff : (1u << (32 - length)) - 1;
  return (number & host_mask) == 0 || (number & host_mask) == host_mask;
}

}  // namespace

// ---- asking ----

void AddressTrust::want(Domain& domain, const Place& place) {
  const bool claimed = std::any_of(domain.claims.begin(), domain.claims.end(),
                                   [&](const Claim& claim) { return claim.place == place; });
  if (claimed) return;
  if (domain.wanted.size() < wanted_per_domain) domain.wanted.try_emplace(place, 0);
  network_.probe(place);
}

void AddressTrust::ask_known(Domain& domain) {
  for (const GuestInterface& interface : domain.interfaces) {
    const std::uint32_t link = carrier_of(interface);
    if (link == 0) continue;
    for (const auto& [place, neighbour] : neighbours_)
      if (place.link == link && neighbour.mac == interface.mac) want(domain, place);
    for (const auto& [address, macs] : leases_)
      if (macs.contains(interface.mac)) ask_hearsay(domain, {interface.mac, address});
  }
}

void AddressTrust::ask_hearsay(Domain& domain, const Hearsay& hearsay) {
  for (const GuestInterface& interface : domain.interfaces) {
    const std::uint32_t link = interface.mac == hearsay.mac ? carrier_of(interface) : 0;
    if (link == 0) continue;
    const Place place = place_of(link, hearsay.address);
    if (is_plausible(place)) want(domain, place);
  }
}

void AddressTrust::ask_again(const std::string& uuid) {
  const auto found = domains_.find(uuid);
  if (found == domains_.end()) return;
  Domain& domain = found->second;
  for (auto& [place, times] : domain.wanted) {
    times = 0;
    network_.probe(place);
  }
  ask_known(domain);
  for (const Hearsay& item : domain.hearsay)
    ask_hearsay(domain, item);
  const auto remembered = remembered_.find(uuid);
  if (remembered == remembered_.end()) return;
  for (const Hearsay& item : remembered->second)
    ask_hearsay(domain, item);
}

std::optional<unsigned> AddressTrust::next_attempt() const {
  std::optional<unsigned> least;
  for (const auto& [uuid, domain] : domains_)
    for (const auto& [place, times] : domain.wanted)
      if (times < attempts && (!least || times < *least)) least = times;
  return least;
}

void AddressTrust::ask_wanted(unsigned attempt) {
  for (auto& [uuid, domain] : domains_)
    for (auto& [place, times] : domain.wanted)
      if (times == attempt) {
        ++times;
        network_.probe(place);
      }
}

void AddressTrust::sweep() {
  for (const auto& [uuid, domain] : domains_)
    for (const auto& [place, times] : domain.wanted)
      network_.probe(place);
}

// ---- decision ----

bool AddressTrust::is_plausible(const Place& place) const {
  const IpAddress& address = place.address;
  if (address.is_wildcard() || address.is_loopback() || is_multicast(address)) return false;
  bool in_subnet = false;
  for (const HostAddress& host : host_addresses_) {
    if (without_scope(host.address) == without_scope(address)) return false;
    if (host.link != place.link || !address.in_subnet(host.network, host.length)) continue;
    if (is_edge(address, host.length)) return false;
    in_subnet = true;
  }
  if (!in_subnet) return false;
  if (!address.is_v4() && address.is_link_local()) return true;
  return network_.direct_route(address) == place.link;
}

bool AddressTrust::is_placed(const std::string& uuid, const Domain& domain, Claim& claim) {
  const GuestInterface& interface = *interface_of(domain, claim.place.link, claim.mac);
  const Link* tap = interface.target.empty() ? nullptr : find_link(interface.target);
  if (tap && tap->index == claim.place.link) return true;  // no bridge, no siblings
  const std::vector<std::uint32_t> ports = network_.ports_of(claim.place.link, claim.mac);
  if (ports.empty()) {
    if (!claim.placed && !std::exchange(claim.asked, true)) network_.probe(claim.place);
    return claim.placed;
  }
  claim.placed = std::all_of(ports.begin(), ports.end(), [&](std::uint32_t port) {
    if (tap) return port == tap->index;
    // Where the tap is not told, or not there (yet), any will do that is no other domain's.
    const auto link = links_.find(port);
    if (link == links_.end()) return false;
    return std::none_of(domains_.begin(), domains_.end(), [&](const auto& item) {
      return item.first != uuid &&
             std::any_of(
                 item.second.interfaces.begin(), item.second.interfaces.end(),
                 [&](const GuestInterface& other) { return other.target == link->second.name; });
    });
  });
  return claim.placed;
}

bool AddressTrust::is_disputed(const std::string& uuid, const Claim& claim) const {
  const auto claimants = claimants_.find(claim.place);
  if (claimants != claimants_.end() &&
      std::any_of(claimants->second.begin(), claimants->second.end(),
                  [&](const std::string& other) { return other != uuid; }))
    return true;
  const auto strangers = strangers_.find(claim.place);
  if (strangers != strangers_.end() && !strangers->second.empty()) return true;
  const auto leases = leases_.find(without_scope(claim.place.address));
  if (leases == leases_.end()) return false;
  for (const std::string& mac : leases->second)
    for (const std::string& owner : owners_of(claim.place.link, mac))
      if (owner != uuid) return true;
  return false;
}

bool AddressTrust::is_trusted(const std::string& uuid, const Domain& domain, Claim& claim) {
  if (!interface_of(domain, claim.place.link, claim.mac)) return false;
  if (!is_plausible(claim.place) || is_disputed(uuid, claim)) return false;
  const auto neighbour = neighbours_.find(claim.place);
  if (neighbour != neighbours_.end() && !neighbour->second.mac.empty() &&
      neighbour->second.mac != claim.mac)
    return false;
  if (owners_of(claim.place.link, claim.mac).size() != 1) return false;
  return is_placed(uuid, domain, claim);
}

std::vector<IpAddress> AddressTrust::decide(const std::string& uuid, Domain& domain) {
  using Rank = std::tuple<std::ptrdiff_t, int, bool, std::uint64_t>;
  std::vector<std::pair<Rank, IpAddress>> ranked;
  for (Claim& claim : domain.claims) {
    if (!is_trusted(uuid, domain, claim)) continue;
    const IpAddress& address = claim.place.address;
    const int kind = address.is_v4() ? 0 : address.is_link_local() ? 2 : 1;
    const auto position =
        interface_of(domain, claim.place.link, claim.mac) - domain.interfaces.data();
    ranked.emplace_back(Rank{position, kind, !claim.leased, claim.order}, address);
  }
  std::sort(ranked.begin(), ranked.end());
  std::vector<IpAddress> result;
  for (const auto& [rank, address] : ranked)
    if (std::find(result.begin(), result.end(), address) == result.end()) result.push_back(address);
  return result;
}

std::vector<std::string> AddressTrust::decide() {
  if (std::exchange(all_dirty_, false))
    for (const auto& [uuid, domain] : domains_)
      dirty_.insert(uuid);
  std::vector<std::string> changed;
  for (const std::string& uuid : std::exchange(ended_, {}))
    if (!domains_.contains(uuid)) changed.push_back(uuid);
  for (const std::string& uuid : std::exchange(dirty_, {})) {
    const auto found = domains_.find(uuid);
    if (found == domains_.end()) continue;
    std::vector<IpAddress> trusted = decide(uuid, found->second);
    if (trusted == found->second.trusted) continue;
    found->second.trusted = std::move(trusted);
    changed.push_back(uuid);
  }
  return changed;
}

std::vector<IpAddress> AddressTrust::addresses(const std::string& uuid) const {
  const auto found = domains_.find(uuid);
  return found == domains_.end() ? std::vector<IpAddress>() : found->second.trusted;
}

}  // namespace vf
