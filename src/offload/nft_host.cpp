// SPDX-License-Identifier: LGPL-2.1-or-later

#include "offload/nft_host.h"

#include <set>
#include <utility>

#include "offload/nft_ruleset.h"

namespace vf {

Result<NftHost> NftHost::open() {
  NftHost host;
  auto nft = open_nft_backend();
  if (!nft) return Unexpected(std::move(nft).error());
  auto links = open_localnet_links();
  if (!links) return Unexpected(std::move(links).error());
  auto flows = open_flow_table();
  if (!flows) return Unexpected(std::move(flows).error());
  host.nft = *std::move(nft);
  host.links = *std::move(links);
  host.flows = *std::move(flows);
  host.watch = make_nft_watch();
  return host;
}

Result<void> clear_localnet_links(NftHost& host) {
  const auto marked = [&]() -> Result<std::set<std::uint32_t>> {
    auto links = host.links->all();
    if (!links) return Unexpected(std::move(links).error());
    std::set<std::uint32_t> indexes;
    for (const auto& link : *links)
      if (link.route_localnet == route_localnet_mark) indexes.insert(link.index);
    return indexes;
  };
  const auto before = marked();
  if (!before) return Unexpected(before.error());
  if (before->empty()) return {};
  // Without the sysctl they would hang. Who cannot look still closes the door.
  if (const auto flows = host.flows->flows()) {
    for (const TrackedFlow& flow : *flows) {
      const auto link = host.links->towards(flow.guest.address);
      if (link && before->contains(*link)) (void)host.flows->end(flow);
    }
  }
  Result<void> outcome;
  for (const std::uint32_t index : *before)
    if (auto set = host.links->set(index, 0); !set) outcome = std::move(set);
  if (outcome) return {};
  // A link that is gone by now is no failure.
  const auto after = marked();
  return after && after->empty() ? Result<void>() : outcome;
}

Result<void> clear_nftables_rests(NftHost& host) {
  if (auto cleared = clear_localnet_links(host); !cleared) return cleared;
  return host.nft->run(nft_remove_guard_table());
}

Result<void> clear_nftables_rests() {
  auto host = NftHost::open();
  if (!host) return Unexpected(std::move(host).error());
  auto standing = host->nft->look();
  if (!standing) return Unexpected(std::move(standing).error());
  if (standing->own)
    return Unexpected(ErrorCode::not_allowed,
                      "the nftables offload is in use: stop virt-forwardd first");
  return clear_nftables_rests(*host);
}

}  // namespace vf
