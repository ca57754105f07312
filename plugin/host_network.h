// SPDX-License-Identifier: LGPL-2.1-or-later
//
// What the kernel knows of the networks that guests are on, as values.

#pragma once

#include <compare>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "base/address.h"

namespace vf {

struct Link {
  std::uint32_t index = 0;
  std::string name;
  std::uint32_t master = 0;  // the bridge it is a port of; 0: none

  friend bool operator==(const Link&, const Link&) = default;
};

// An address of the host with its subnet.
struct HostAddress {
  std::uint32_t link = 0;
  IpAddress address;
  IpAddress network;  // the peer's on a point-to-point link
  unsigned length = 0;

  friend bool operator==(const HostAddress&, const HostAddress&) = default;
};

// Who is asked for, on which link: the key of the kernel's neighbour table.
struct Place {
  std::uint32_t link = 0;
  IpAddress address;

  friend auto operator<=>(const Place&, const Place&) = default;
};

inline IpAddress without_scope(const IpAddress& address) {
  return *IpAddress::from_bytes(address.bytes());
}
// A link-local IPv6 address carries its link in a Place, others do not.
inline Place place_of(std::uint32_t link, const IpAddress& address) {
  return {link, *IpAddress::from_bytes(address.bytes(), link)};
}

enum class NeighbourState {
  gone,        // the entry was removed, which says nothing about the guest
  failed,      // nobody answered
  incomplete,  // being asked for, no answer yet
  stale,       // known, not confirmed lately
  checking,    // known, being confirmed
  reachable,   // confirmed just now
};

struct Neighbour {
  Place place;
  NeighbourState state = NeighbourState::gone;
  std::string mac;  // lower case; empty where the state has none

  friend bool operator==(const Neighbour&, const Neighbour&) = default;
};

struct NetworkState {
  std::vector<Link> links;
  std::vector<HostAddress> addresses;
  std::vector<Neighbour> neighbours;
};

// What is asked at the moment of a decision.
class HostNetwork {
 public:
  virtual ~HostNetwork() = default;
  // The link that a packet to `address` leaves by when the destination is a neighbour there;
  // nothing when it goes through a gateway, nowhere, or stays on the host.
  virtual std::optional<std::uint32_t> direct_route(const IpAddress& address) = 0;
  // The ports of `bridge` behind which it learned, or was told, this MAC; the ports' own MACs do
  // not count.
  virtual std::vector<std::uint32_t> ports_of(std::uint32_t bridge, const std::string& mac) = 0;
  // Has the kernel ask who has this address (ARP, neighbour solicitation), also when it believes
  // to know. The answer comes as a change of the neighbour table. May do nothing.
  virtual void probe(const Place& place) = 0;
};

}  // namespace vf
