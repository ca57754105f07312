// SPDX-License-Identifier: LGPL-2.1-or-later
//
// Which addresses are whose: evidence in, trusted addresses out. No I/O but the questions to
// HostNetwork. Main thread only.
//
// Theory. A *claim* is "this MAC of this domain was seen with this address on this bridge, during
// this run of the domain". Seen means that the kernel's neighbour entry was made or confirmed by a
// packet: an entry that was merely there before the run is asked about first. A claim becomes a
// trusted address while nothing contradicts it:
//
//   - the bridge learned the MAC on the domain's own tap and nowhere else (a sibling that sends
//     with this MAC moves it to its own port). A bridge forgets an idle MAC: once proved in
//     this run, having forgotten is no contradiction;
//   - the neighbour entry does not name another MAC now;
//   - the address lies in a subnet that the host has on that bridge, is not the host's, and is
//     routed out of that bridge;
//   - nobody else claims it: no other running domain by a packet or by a DHCP lease, and no
//     stranger on the bridge that was seen with it and is still there. Where two claim, neither
//     gets it;
//   - no other running domain has the same MAC on that bridge.
//
// A claim ends with the domain's run, when nobody answers for the address (all claims to it end),
// and when its DHCP lease is given up. A lease, or the QEMU guest agent's word, alone never makes a
// claim: it makes the kernel ask.

#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "plugin/domain_snapshot.h"
#include "plugin/host_network.h"

namespace vf {

// Somebody's word that a MAC has an address.
struct Hearsay {
  std::string mac;
  IpAddress address;

  friend auto operator<=>(const Hearsay&, const Hearsay&) = default;
};

class AddressTrust {
 public:
  // `network` outlives it.
  explicit AddressTrust(HostNetwork& network) : network_(network) {}

  // The whole of it, at the start and after messages were lost.
  void reset(const NetworkState& state);
  void link_changed(const Link& link);
  void link_removed(std::uint32_t index);
  void host_address_added(const HostAddress& address);
  void host_address_removed(const HostAddress& address);
  void routes_changed() { all_dirty_ = true; }
  void neighbour_changed(const Neighbour& neighbour);
  // A bridge learned, moved or forgot this MAC.
  void forwarding_changed(const std::string& mac);

  // Another `run` than before (the domain's id) begins without evidence.
  void domain_runs(const std::string& uuid, int run, const std::vector<GuestInterface>& interfaces);
  // Its addresses are remembered for the next run: as hearsay.
  void domain_ended(const std::string& uuid);
  // It is gone for good, or its memory is not wanted.
  void domain_forgotten(const std::string& uuid);
  // All present leases of the host's DHCP servers.
  void leases_are(const std::vector<Hearsay>& leases);
  // What the guest agent of one domain says.
  void agent_says(const std::string& uuid, const std::vector<Hearsay>& hearsay);
  // The guest may answer (again): asks for what it once had and for what is said of it.
  void ask_again(const std::string& uuid);
  // Of the wanted places (those that a domain once had or is said to have, and nobody answers
  // for), how often the least asked was asked in vain; nothing when each had its share.
  std::optional<unsigned> next_attempt() const;
  // Asks for those that were asked this often.
  void ask_wanted(unsigned attempt);
  // Asks for all of them once.
  void sweep();

  // The domains whose trusted addresses changed since the last call.
  std::vector<std::string> decide();
  // Best first: by interface; IPv4, IPv6, link-local IPv6; leased ones; the first seen.
  std::vector<IpAddress> addresses(const std::string& uuid) const;

 private:
  struct Claim {
    Place place;
    std::string mac;
    std::uint64_t order = 0;  // of being seen first
    bool placed = false;      // the bridge had the MAC on the domain's own tap
    bool asked = false;       // the guest, for a packet that shows it
    bool leased = false;      // when last looked
  };
  struct Domain {
    int run = 0;
    std::vector<GuestInterface> interfaces;
    std::vector<Claim> claims;
    std::map<Place, unsigned> wanted;  // no claim, but perhaps soon: times asked
    std::set<Hearsay> hearsay;
    std::vector<IpAddress> trusted;
  };
  using Domains = std::map<std::string, Domain>;

  static constexpr std::size_t claims_per_interface = 16;
  static constexpr std::size_t wanted_per_domain = 8;
  static constexpr unsigned attempts = 7;

  const Link* find_link(const std::string& name) const;
  // The bridge that an interface is on (or its own link where there is none); 0: not known.
  std::uint32_t carrier_of(const GuestInterface& interface) const;
  const GuestInterface* interface_of(const Domain& domain, std::uint32_t link,
                                     const std::string& mac) const;
  std::vector<std::string> owners_of(std::uint32_t link, const std::string& mac) const;
  bool is_leased(const std::string& mac, const IpAddress& address) const;
  bool is_plausible(const Place& place) const;
  bool is_placed(const std::string& uuid, const Domain& domain, Claim& claim);
  bool is_disputed(const std::string& uuid, const Claim& claim) const;
  bool is_trusted(const std::string& uuid, const Domain& domain, Claim& claim);
  std::vector<IpAddress> decide(const std::string& uuid, Domain& domain);
  void add_claim(const std::string& uuid, Domain& domain, const Neighbour& seen);
  void erase_claim(const std::string& uuid, Domain& domain, std::size_t index);
  void end_claims(const Place& place);
  void note_stranger(const Neighbour& before, const Neighbour& now);
  void mark_claimants(const Place& place);
  void mark_rivals(const Domain& domain);
  void mark_lease(const Hearsay& lease);
  void forget_name(const Link& link);
  void ask_claimants(const Place& place);
  void remember(const std::string& uuid, const Domain& domain);
  void want(Domain& domain, const Place& place);
  void ask_known(Domain& domain);
  void ask_hearsay(Domain& domain, const Hearsay& hearsay);

  HostNetwork& network_;
  std::map<std::uint32_t, Link> links_;
  std::map<std::string, std::uint32_t> links_by_name_;
  std::vector<HostAddress> host_addresses_;
  std::map<Place, Neighbour> neighbours_;
  std::map<Place, std::set<std::string>> strangers_;   // MACs of no domain of ours
  std::map<IpAddress, std::set<std::string>> leases_;  // MACs
  Domains domains_;
  std::map<std::string, std::set<Hearsay>> remembered_;  // of earlier runs
  std::map<std::string, std::set<std::string>> domains_by_mac_;
  std::map<Place, std::set<std::string>> claimants_;
  std::set<std::string> dirty_;
  std::set<std::string> ended_;  // with addresses that nobody has been told are void
  bool all_dirty_ = false;
  std::uint64_t order_ = 0;
};

}  // namespace vf
