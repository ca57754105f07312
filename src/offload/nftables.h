// SPDX-License-Identifier: LGPL-2.1-or-later
//
// The offload by address translation: connections of this host to 127.0.0.1 are taken to an IPv4
// guest by nftables, TCP and UDP. What stands in the kernel is told in nft_ruleset.h.
//
// The order of things is what makes it safe. A packet with a loopback address may leave over a
// bridge only with the sysctl route_localnet of that bridge, and then one may come in as well: any
// guest could reach what this host serves to itself alone. So the guard, which drops such packets,
// stands before the sysctl is set and until it is set back, on every path: also the process being
// killed, which takes one table away, and a flush of the ruleset, which takes the other.
//
// Not served: a client that binds its socket to the link lo (SO_BINDTODEVICE). It would have to be
// left to the relay, but no rule can tell; its connections time out.
//
// The sysctl stays as long as connections need it: those of entries that are gone, too, until they
// end or are cut. For this, entries that are gone are remembered while the kernel tracks
// connections of theirs.

#pragma once

#include <chrono>
#include <deque>
#include <functional>
#include <map>
#include <optional>
#include <set>
#include <string>

#include "glib/source.h"
#include "offload/nft_entries.h"
#include "offload/nft_host.h"
#include "offload/offload.h"

namespace vf {

class NftablesOffload final : public KernelOffload {
 public:
  using OpenHost = std::function<Result<NftHost>()>;

  explicit NftablesOffload(OpenHost open = NftHost::open);
  // Leaves the kernel as it was. Connections that were taken end, at once and visibly: without the
  // sysctl, which may not stay behind, they would hang.
  ~NftablesOffload() override;
  NftablesOffload(const NftablesOffload&) = delete;
  NftablesOffload& operator=(const NftablesOffload&) = delete;

  Offload kind() const override { return Offload::nftables; }
  // Clears what a process that was killed left. Tells of no connection that fails: it is about
  // packets, and nobody but the client knows what came of them.
  Result<void> start(Events events) override;
  Result<void> admits(const OffloadEntry& entry) const override;
  // After a loss that was not mended this puts everything in place again.
  Result<void> apply(std::span<const OffloadEntry> gone,
                     std::span<const OffloadEntry> added) override;
  void cut(std::span<const std::string> keys) override;
  // Bytes are those of whole IP packets.
  Result<std::map<std::string, Count>> counts() override;

 private:
  // An entry that takes no more.
  struct Gone {
    std::string key;
    std::string bridge;
    bool cut = false;
    bool settled = false;  // no packet is on its way through the kernel with it any more
  };

  Result<void> put_in_place();
  void take_down();
  void tables_changed();
  bool mends_too_often();
  void links_changed(const std::optional<std::set<std::string>>& names);
  bool needs_link(const std::string& name) const;
  Result<void> set_links();
  Result<std::set<std::uint32_t>> open_links(const std::set<std::string>& names);
  void lose(std::string reason);
  std::size_t end_flows(const std::set<NftWay>& ways);
  void sweep_later(std::chrono::milliseconds delay);
  void sweep();

  const OpenHost open_;
  Events events_;
  bool started_ = false;
  std::optional<NftHost> host_;  // from start() on, while anything needs it
  bool in_place_ = false;
  std::string guard_;  // as it looks while nobody touched it
  NftEntries entries_;
  std::map<NftWay, Gone> gone_;
  std::deque<std::chrono::steady_clock::time_point> mended_;
  Source sweep_;
};

}  // namespace vf
