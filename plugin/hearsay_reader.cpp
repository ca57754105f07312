// SPDX-License-Identifier: LGPL-2.1-or-later

#include "plugin/hearsay_reader.h"

#include <algorithm>

#include "plugin/netlink_messages.h"

namespace vf {
namespace {

constexpr std::size_t addresses_per_domain = 32;

void add(std::vector<Hearsay>& all, const char* mac, const char* address) {
  if (!mac || !address) return;
  const auto bytes = parse_mac(mac);
  const auto parsed = IpAddress::parse(address);
  if (bytes && parsed) all.push_back({mac_text(*bytes), *parsed});
}

}  // namespace

std::vector<Hearsay> read_leases(virConnectPtr connect) {
  std::vector<Hearsay> all;
  virNetworkPtr* networks = nullptr;
  const int count = virConnectListAllNetworks(connect, &networks, VIR_CONNECT_LIST_NETWORKS_ACTIVE);
  for (int i = 0; i < count; ++i) {
    const NetworkHandle network(networks[i]);
    virNetworkDHCPLeasePtr* leases = nullptr;
    const int lease_count = virNetworkGetDHCPLeases(network.get(), nullptr, &leases, 0);
    for (int j = 0; j < lease_count; ++j) {
      add(all, leases[j]->mac, leases[j]->ipaddr);
      virNetworkDHCPLeaseFree(leases[j]);
    }
    std::free(leases);
  }
  std::free(networks);
  return all;
}

std::vector<Hearsay> ask_agent(virConnectPtr connect, const std::string& uuid) {
  std::vector<Hearsay> all;
  const DomainHandle domain = look_up(connect, uuid);
  if (!domain) return all;
  virDomainInterfacePtr* interfaces = nullptr;
  const int count = virDomainInterfaceAddresses(domain.get(), &interfaces,
                                                VIR_DOMAIN_INTERFACE_ADDRESSES_SRC_AGENT, 0);
  for (int i = 0; i < count; ++i) {
    for (unsigned j = 0; j < interfaces[i]->naddrs && all.size() < addresses_per_domain; ++j)
      add(all, interfaces[i]->hwaddr, interfaces[i]->addrs[j].addr);
    virDomainInterfaceFree(interfaces[i]);
  }
  std::free(interfaces);
  return all;
}

}  // namespace vf
