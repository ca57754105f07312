// SPDX-License-Identifier: LGPL-2.1-or-later

#include "plugin/address_trust.h"

#include <algorithm>
#include <tuple>
#include <utility>

namespace vf {
namespace {

constexpr std::size_t strangers_per_place = 4;
constexpr std::size_t hearsay_per_domain = 32;

}  // namespace

// ---- what is known ----

const Link* AddressTrust::find_link(const std::string& name) const {
  const auto found = links_by_name_.find(name);
  return found == links_by_name_.end() ? nullptr : &links_.at(found->second);
}

std::uint32_t AddressTrust::carrier_of(const GuestInterface& interface) const {
  if (!interface.target.empty())
    if (const Link* tap = find_link(interface.target))
      return tap->master ? tap->master : tap->index;
  const Link* bridge = interface.bridge.empty() ? nullptr : find_link(interface.bridge);
  return bridge ? bridge->index : 0;
}

const GuestInterface* AddressTrust::interface_of(const Domain& domain, std::uint32_t link,
                                                 const std::string& mac) const {
  for (const GuestInterface& interface : domain.interfaces)
    if (interface.mac == mac && carrier_of(interface) == link) return &interface;
  return nullptr;
}

std::vector<std::string> AddressTrust::owners_of(std::uint32_t link, const std::string& mac) const {
  std::vector<std::string> owners;
  const auto found = domains_by_mac_.find(mac);
  if (found == domains_by_mac_.end()) return owners;
  for (const std::string& uuid : found->second)
    if (interface_of(domains_.at(uuid), link, mac)) owners.push_back(uuid);
  return owners;
}

bool AddressTrust::is_leased(const std::string& mac, const IpAddress& address) const {
  const auto found = leases_.find(without_scope(address));
  return found != leases_.end() && found->second.contains(mac);
}

// ---- evidence ----

void AddressTrust::reset(const NetworkState& state) {
  links_.clear();
  links_by_name_.clear();
  for (const Link& link : state.links) {
    links_[link.index] = link;
    links_by_name_[link.name] = link.index;
  }
  host_addresses_ = state.addresses;
  neighbours_.clear();
  for (const Neighbour& neighbour : state.neighbours) {
    neighbours_.insert_or_assign(neighbour.place, neighbour);
    if (neighbour.state == NeighbourState::failed) end_claims(neighbour.place);
  }
  for (auto& [uuid, domain] : domains_)
    ask_known(domain);
  all_dirty_ = true;
}

void AddressTrust::link_changed(const Link& link) {
  Link& known = links_[link.index];
  if (known == link) return;
  if (known.name != link.name) forget_name(known);
  known = link;
  links_by_name_[link.name] = link.index;
  for (auto& [uuid, domain] : domains_) {
    const bool concerned = std::any_of(
        domain.interfaces.begin(), domain.interfaces.end(), [&](const GuestInterface& interface) {
          return interface.target == link.name || interface.bridge == link.name;
        });
    if (!concerned) continue;
    dirty_.insert(uuid);
    ask_known(domain);
  }
}

void AddressTrust::forget_name(const Link& link) {
  const auto found = links_by_name_.find(link.name);
  if (found != links_by_name_.end() && found->second == link.index) links_by_name_.erase(found);
}

void AddressTrust::link_removed(std::uint32_t index) {
  const auto found = links_.find(index);
  if (found == links_.end()) return;
  forget_name(found->second);
  links_.erase(found);
  std::erase_if(neighbours_, [&](const auto& item) { return item.first.link == index; });
  std::erase_if(strangers_, [&](const auto& item) { return item.first.link == index; });
  all_dirty_ = true;
}

void AddressTrust::host_address_added(const HostAddress& address) {
  if (std::find(host_addresses_.begin(), host_addresses_.end(), address) != host_addresses_.end())
    return;
  host_addresses_.push_back(address);
  all_dirty_ = true;
}

void AddressTrust::host_address_removed(const HostAddress& address) {
  if (std::erase(host_addresses_, address) != 0) all_dirty_ = true;
}

void AddressTrust::neighbour_changed(const Neighbour& now) {
  const auto found = neighbours_.find(now.place);
  const Neighbour before = found == neighbours_.end() ? Neighbour{now.place} : found->second;
  mark_claimants(now.place);
  if (now.state == NeighbourState::gone) {
    if (found != neighbours_.end()) neighbours_.erase(found);
    return;
  }
  neighbours_.insert_or_assign(now.place, now);
  if (now.state == NeighbourState::failed) {
    // Without having been asked for it was an administrator who removed the entry.
    if (before.state == NeighbourState::stale || before.state == NeighbourState::reachable)
      ask_claimants(now.place);
    else
      end_claims(now.place);
    return;
  }
  if (now.mac.empty()) return;
  note_stranger(before, now);
  // A packet made or confirmed the entry; else it only grew old, or is being asked for.
  const bool seen = now.state == NeighbourState::reachable ||
                    (now.state == NeighbourState::stale && before.mac != now.mac);
  for (const std::string& uuid : owners_of(now.place.link, now.mac)) {
    Domain& domain = domains_.at(uuid);
    dirty_.insert(uuid);
    if (seen) {
      add_claim(uuid, domain, now);
    } else if (now.state == NeighbourState::stale &&
               std::none_of(domain.claims.begin(), domain.claims.end(), [&](const Claim& claim) {
                 return claim.place == now.place && claim.mac == now.mac;
               })) {
      network_.probe(now.place);
    }
  }
}

void AddressTrust::forwarding_changed(const std::string& mac) {
  for (auto item = strangers_.begin(); item != strangers_.end();) {
    auto& [place, macs] = *item;
    if (macs.contains(mac) && network_.ports_of(place.link, mac).empty()) {
      macs.erase(mac);
      mark_claimants(place);
    }
    item = macs.empty() ? strangers_.erase(item) : std::next(item);
  }
  const auto found = domains_by_mac_.find(mac);
  if (found == domains_by_mac_.end()) return;
  for (const std::string& uuid : found->second) {
    dirty_.insert(uuid);
    // A sign of life.
    for (auto& [place, times] : domains_.at(uuid).wanted) {
      times = 0;
      network_.probe(place);
    }
  }
}

void AddressTrust::domain_runs(const std::string& uuid, int run,
                               const std::vector<GuestInterface>& interfaces) {
  const auto found = domains_.find(uuid);
  if (found != domains_.end() && found->second.run == run && found->second.interfaces == interfaces)
    return;
  std::vector<IpAddress> trusted;
  if (found != domains_.end()) {
    trusted = found->second.trusted;
    for (const GuestInterface& interface : found->second.interfaces) {
      const auto owners = domains_by_mac_.find(interface.mac);
      if (owners == domains_by_mac_.end()) continue;
      owners->second.erase(uuid);
      if (owners->second.empty()) domains_by_mac_.erase(owners);
    }
    if (found->second.run != run) {
      remember(uuid, found->second);
      while (!found->second.claims.empty())
        erase_claim(uuid, found->second, 0);
      found->second = {};
    }
  }
  Domain& domain = domains_[uuid];
  domain.run = run;
  domain.interfaces = interfaces;
  domain.trusted = std::move(trusted);
  for (const GuestInterface& interface : interfaces) {
    domains_by_mac_[interface.mac].insert(uuid);
    for (auto& [place, macs] : strangers_)
      macs.erase(interface.mac);
    // Who shares the MAC is no longer its only owner.
    for (const std::string& owner : domains_by_mac_[interface.mac])
      dirty_.insert(owner);
  }
  for (std::size_t i = domain.claims.size(); i-- > 0;)
    if (!interface_of(domain, domain.claims[i].place.link, domain.claims[i].mac))
      erase_claim(uuid, domain, i);
  dirty_.insert(uuid);
  mark_rivals(domain);
  ask_again(uuid);
}

void AddressTrust::domain_ended(const std::string& uuid) {
  const auto found = domains_.find(uuid);
  if (found == domains_.end()) return;
  Domain& domain = found->second;
  remember(uuid, domain);
  while (!domain.claims.empty())
    erase_claim(uuid, domain, 0);
  for (const GuestInterface& interface : domain.interfaces) {
    const auto owners = domains_by_mac_.find(interface.mac);
    if (owners == domains_by_mac_.end()) continue;
    owners->second.erase(uuid);
    for (const std::string& owner : owners->second)
      dirty_.insert(owner);
    if (owners->second.empty()) domains_by_mac_.erase(owners);
  }
  mark_rivals(domain);
  if (!domain.trusted.empty()) ended_.insert(uuid);
  domains_.erase(found);
}

void AddressTrust::domain_forgotten(const std::string& uuid) {
  domain_ended(uuid);
  remembered_.erase(uuid);
}

void AddressTrust::remember(const std::string& uuid, const Domain& domain) {
  std::set<Hearsay> hearsay;
  for (const Claim& claim : domain.claims)
    if (hearsay.size() < wanted_per_domain &&
        std::find(domain.trusted.begin(), domain.trusted.end(), claim.place.address) !=
            domain.trusted.end())
      hearsay.insert({claim.mac, without_scope(claim.place.address)});
  if (!hearsay.empty()) remembered_[uuid] = std::move(hearsay);
}

void AddressTrust::leases_are(const std::vector<Hearsay>& leases) {
  const auto before = std::exchange(leases_, {});
  for (const Hearsay& lease : leases)
    leases_[lease.address].insert(lease.mac);
  for (auto& [uuid, domain] : domains_) {
    for (std::size_t i = domain.claims.size(); i-- > 0;) {
      Claim& claim = domain.claims[i];
      const bool leased = is_leased(claim.mac, claim.place.address);
      if (claim.leased && !leased) {
        // Given up. Should the guest hold on to the address, its answer brings it back.
        const Place place = claim.place;
        erase_claim(uuid, domain, i);
        network_.probe(place);
      } else {
        claim.leased = leased;
      }
    }
  }
  for (const Hearsay& lease : leases) {
    const auto known = before.find(lease.address);
    if (known != before.end() && known->second.contains(lease.mac)) continue;
    const auto owners = domains_by_mac_.find(lease.mac);
    if (owners == domains_by_mac_.end()) continue;
    for (const std::string& uuid : owners->second)
      ask_hearsay(domains_.at(uuid), lease);
    mark_lease(lease);
  }
  for (const auto& [address, macs] : before)
    for (const std::string& mac : macs)
      if (!is_leased(mac, address)) mark_lease({mac, address});
}

void AddressTrust::agent_says(const std::string& uuid, const std::vector<Hearsay>& hearsay) {
  const auto found = domains_.find(uuid);
  if (found == domains_.end()) return;
  found->second.hearsay.clear();
  for (const Hearsay& item : hearsay) {
    if (found->second.hearsay.size() == hearsay_per_domain) break;
    if (found->second.hearsay.insert(item).second) ask_hearsay(found->second, item);
  }
}

// ---- claims ----

void AddressTrust::mark_claimants(const Place& place) {
  const auto found = claimants_.find(place);
  if (found != claimants_.end()) dirty_.insert(found->second.begin(), found->second.end());
}

void AddressTrust::ask_claimants(const Place& place) {
  if (claimants_.contains(place)) network_.probe(place);
}

// A lease of a domain that runs disputes the claims of others.
void AddressTrust::mark_rivals(const Domain& domain) {
  for (const GuestInterface& interface : domain.interfaces) {
    const std::uint32_t link = carrier_of(interface);
    for (const auto& [address, macs] : leases_)
      if (macs.contains(interface.mac)) mark_claimants(place_of(link, address));
  }
}

// Everybody whose claim this lease backs or disputes.
void AddressTrust::mark_lease(const Hearsay& lease) {
  const auto owners = domains_by_mac_.find(lease.mac);
  if (owners == domains_by_mac_.end()) return;
  for (const std::string& uuid : owners->second)
    for (const GuestInterface& interface : domains_.at(uuid).interfaces)
      if (interface.mac == lease.mac)
        mark_claimants(place_of(carrier_of(interface), lease.address));
}

void AddressTrust::add_claim(const std::string& uuid, Domain& domain, const Neighbour& seen) {
  const auto is_of_same_interface = [&](const Claim& claim) {
    return claim.mac == seen.mac && claim.place.link == seen.place.link &&
           claim.place.address.is_v4() == seen.place.address.is_v4();
  };
  std::size_t count = 0;
  std::size_t oldest = domain.claims.size();
  for (std::size_t i = 0; i < domain.claims.size(); ++i) {
    const Claim& claim = domain.claims[i];
    if (!is_of_same_interface(claim)) continue;
    if (claim.place == seen.place) return;
    ++count;
    if (oldest == domain.claims.size() && !claim.leased) oldest = i;
  }
  if (count >= claims_per_interface) {
    if (oldest == domain.claims.size()) return;
    erase_claim(uuid, domain, oldest);
  } else if (!domain.trusted.empty()) {
    // Perhaps it moved from another address to this one.
    for (const Claim& claim : domain.claims)
      if (is_of_same_interface(claim)) network_.probe(claim.place);
  }
  domain.wanted.erase(seen.place);
  Claim claim{seen.place, seen.mac};
  claim.order = ++order_;
  claim.leased = is_leased(seen.mac, seen.place.address);
  domain.claims.push_back(std::move(claim));
  claimants_[seen.place].insert(uuid);
  mark_claimants(seen.place);
}

void AddressTrust::erase_claim(const std::string& uuid, Domain& domain, std::size_t index) {
  const Place place = domain.claims[index].place;
  mark_claimants(place);
  domain.claims.erase(domain.claims.begin() + static_cast<std::ptrdiff_t>(index));
  const bool claims_still = std::any_of(domain.claims.begin(), domain.claims.end(),
                                        [&](const Claim& claim) { return claim.place == place; });
  if (claims_still) return;
  const auto found = claimants_.find(place);
  if (found == claimants_.end()) return;
  found->second.erase(uuid);
  if (found->second.empty()) claimants_.erase(found);
}

void AddressTrust::end_claims(const Place& place) {
  strangers_.erase(place);
  const auto found = claimants_.find(place);
  if (found == claimants_.end()) return;
  const std::set<std::string> uuids = found->second;
  for (const std::string& uuid : uuids) {
    Domain& domain = domains_.at(uuid);
    for (std::size_t i = domain.claims.size(); i-- > 0;)
      if (domain.claims[i].place == place) erase_claim(uuid, domain, i);
    if (domain.wanted.size() < wanted_per_domain) domain.wanted.try_emplace(place, 0);
  }
}

// A stranger that has left the bridge was the former holder; one that is there is a rival.
void AddressTrust::note_stranger(const Neighbour& before, const Neighbour& now) {
  if (before.mac == now.mac || before.mac.empty()) return;
  if (owners_of(now.place.link, now.mac).empty() ||
      !owners_of(now.place.link, before.mac).empty() ||
      network_.ports_of(now.place.link, before.mac).empty())
    return;
  auto& macs = strangers_[now.place];
  if (macs.size() < strangers_per_place) macs.insert(before.mac);
}

}  // namespace vf
