// SPDX-License-Identifier: LGPL-2.1-or-later
//
// Two domains on a bridge, in a network of tables.

#pragma once

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "plugin/address_trust.h"

namespace vf {

constexpr std::uint32_t br = 1, tap_a = 2, tap_b = 3, uplink = 4, br2 = 5, tap_a2 = 6, lone_tap = 7;
inline const std::string mac_a = "52:54:00:00:00:0a";
inline const std::string mac_a2 = "52:54:00:00:02:0a";
inline const std::string mac_b = "52:54:00:00:00:0b";
inline const std::string mac_x = "52:54:00:00:00:99";  // of no domain

inline IpAddress ip(const char* text) {
  return *IpAddress::parse(text);
}

inline Place at(const char* text, std::uint32_t link = br) {
  return {link, *IpAddress::from_bytes(ip(text).bytes(), link)};
}

// Networks as tables, and what was asked for.
struct FakeNetwork final : HostNetwork {
  std::vector<HostAddress> routes;
  std::map<std::pair<std::uint32_t, std::string>, std::vector<std::uint32_t>> ports;
  std::vector<Place> probes;

  std::optional<std::uint32_t> direct_route(const IpAddress& address) override {
    for (const HostAddress& route : routes)
      if (address.in_subnet(route.network, route.length)) return route.link;
    return std::nullopt;
  }
  std::vector<std::uint32_t> ports_of(std::uint32_t bridge, const std::string& mac) override {
    return ports[{bridge, mac}];
  }
  void probe(const Place& place) override { probes.push_back(place); }
};

class AddressTrustTest : public ::testing::Test {
 protected:
  AddressTrustTest() {
    state.links = {{br, "br", 0},        {tap_a, "tapA", br}, {tap_b, "tapB", br},
                   {uplink, "eth0", br}, {br2, "br2", 0},     {tap_a2, "tapA2", br2},
                   {lone_tap, "lone", 0}};
    state.addresses = {{br, ip("10.0.0.1"), ip("10.0.0.1"), 24},
                       {br, ip("fd00::1"), ip("fd00::1"), 64},
                       {br, at("fe80::1").address, at("fe80::1").address, 64},
                       {br2, ip("10.2.0.1"), ip("10.2.0.1"), 24},
                       {lone_tap, ip("10.7.0.1"), ip("10.7.0.1"), 24}};
    network.routes = state.addresses;
    trust.reset(state);
    learn(mac_a, tap_a);
    learn(mac_b, tap_b);
    trust.domain_runs("a", 1, {{mac_a, "network", "br", "tapA"}});
    trust.domain_runs("b", 2, {{mac_b, "network", "br", "tapB"}});
    trust.decide();
    network.probes.clear();
  }

  void learn(const std::string& mac, std::uint32_t port, std::uint32_t bridge = br) {
    network.ports[{bridge, mac}] = {port};
    trust.forwarding_changed(mac);
  }
  void forget(const std::string& mac, std::uint32_t bridge = br) {
    network.ports[{bridge, mac}].clear();
    trust.forwarding_changed(mac);
  }
  void entry(const Place& place, NeighbourState state_now, const std::string& mac = "") {
    trust.neighbour_changed({place, state_now, mac});
  }
  void sees(const char* address, const std::string& mac, std::uint32_t link = br) {
    entry(at(address, link), NeighbourState::stale, mac);
  }
  void nobody_answers(const char* address) {
    entry(at(address), NeighbourState::incomplete);
    entry(at(address), NeighbourState::failed);
  }

  // Trusted addresses as text, after a decision.
  std::vector<std::string> of(const std::string& uuid) {
    for (const std::string& changed : trust.decide())
      ++reports[changed];
    std::vector<std::string> texts;
    for (const IpAddress& address : trust.addresses(uuid))
      texts.push_back(address.text());
    return texts;
  }

  NetworkState state;
  FakeNetwork network;
  AddressTrust trust{network};
  std::map<std::string, int> reports;
};

}  // namespace vf
