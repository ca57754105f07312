// SPDX-License-Identifier: LGPL-2.1-or-later

#include "offload/nftables.h"

#include <iterator>
#include <utility>

#include "base/printable.h"

namespace vf {
namespace {

using std::chrono::steady_clock;

// Somebody who takes the guard away as often as we put it back wins: then nothing is taken.
constexpr std::size_t mends_at_most = 10;
constexpr std::chrono::seconds mends_within{10};
// A connection that is begun while its entry goes is seen after this fraction of a sweep.
constexpr int settling_part = 10;
constexpr int rounds_at_most = 8;

NftWay way_of(const TrackedFlow& flow) {
  return {flow.protocol, flow.host, flow.guest};
}

Result<void> refuse(std::string why) {
  return Unexpected(ErrorCode::not_supported, std::move(why));
}

}  // namespace

NftablesOffload::NftablesOffload(OpenHost open) : open_(std::move(open)) {}

NftablesOffload::~NftablesOffload() {
  if (in_place_) take_down();
}

Result<void> NftablesOffload::start(Events events) {
  auto host = open_();
  if (!host) return Unexpected(std::move(host).error());
  const auto standing = host->nft->look();
  if (!standing) return Unexpected(standing.error());
  if (standing->own)
    return Unexpected(ErrorCode::not_allowed, "another process has the nftables offload in use");
  if (auto cleared = clear_localnet_links(*host); !cleared) return cleared;
  const auto watched = host->watch->start(
      [this] { tables_changed(); },
      [this](const std::optional<std::set<std::string>>& names) { links_changed(names); });
  if (!watched) return watched;
  events_ = std::move(events);
  host_ = *std::move(host);
  if (auto placed = put_in_place(); !placed) {
    (void)host_->nft->run(nft_remove_guard_table());
    host_.reset();
    return placed;
  }
  started_ = true;
  return {};
}

Result<void> NftablesOffload::admits(const OffloadEntry& entry) const {
  if (entry.host.address != IpAddress::loopback4())
    return refuse("nftables can take connections to 127.0.0.1 only, not to " +
                  entry.host.address.text());
  const IpAddress& guest = entry.guest.address;
  if (!guest.is_v4() || guest.is_loopback() || guest.is_wildcard())
    return refuse("nftables cannot take connections from 127.0.0.1 to " + guest.text());
  if (!is_plain_link_name(entry.bridge))
    return refuse("the link \"" + printable(entry.bridge, 64) + "\" has no name for nftables");
  return {};
}

Result<void> NftablesOffload::apply(std::span<const OffloadEntry> gone,
                                    std::span<const OffloadEntry> added) {
  if (!started_) return Unexpected(ErrorCode::failed, "the nftables offload is not started");
  for (const OffloadEntry& entry : added)
    if (auto admitted = admits(entry); !admitted) return admitted;
  if (!host_) {
    if (added.empty()) return {};
    if (auto again = start(events_); !again) return again;
  }
  auto change = entries_.plan(gone, added);
  if (!change) return Unexpected(std::move(change).error());
  if (!in_place_) {
    if (change->added.empty()) return {};
    if (auto placed = put_in_place(); !placed) return placed;
  }

  // Behind the guard, and before what needs it.
  auto opened = open_links(change->bridges);
  if (!opened) return Unexpected(std::move(opened).error());
  const std::string commands = change->nft.text();
  if (!commands.empty()) {
    auto done = host_->nft->run(commands);
    // Our table may be gone: see nft_backend.cpp.
    if (!done && put_in_place()) done = host_->nft->run(commands);
    if (!done) {
      for (const std::uint32_t index : *opened)
        (void)host_->links->set(index, 0);
      return done;
    }
  }
  entries_.commit(*change);
  for (const OffloadEntry& entry : change->gone)
    gone_[NftWay::of(entry)] = {.key = entry.key, .bridge = entry.bridge};
  // What was established this way belongs to who has it now.
  for (const OffloadEntry& entry : change->added)
    gone_.erase(NftWay::of(entry));
  if (!gone_.empty() && !sweep_) sweep_later(host_->sweep);
  return {};
}

void NftablesOffload::cut(std::span<const std::string> keys) {
  if (!in_place_) return;
  const std::set<std::string> wanted(keys.begin(), keys.end());
  std::set<NftWay> ways = entries_.ways_of(wanted);
  for (auto& [way, entry] : gone_) {
    if (!wanted.contains(entry.key)) continue;
    entry.cut = true;
    ways.insert(way);
  }
  if (ways.empty()) return;
  for (int round = 0; round < rounds_at_most && end_flows(ways) > 0;)
    ++round;
  if (!gone_.empty()) sweep_later(host_->sweep / settling_part);
}

Result<std::map<std::string, KernelOffload::Count>> NftablesOffload::counts() {
  std::map<std::string, Count> counts;
  if (!in_place_) return counts;
  const auto flows = host_->flows->flows();
  if (!flows) return Unexpected(flows.error());
  for (const TrackedFlow& flow : *flows) {
    if (flow.phase != TrackedFlow::Phase::established) continue;
    const OffloadEntry* entry = entries_.find(way_of(flow));
    const auto gone = gone_.find(way_of(flow));
    if (!entry && gone == gone_.end()) continue;
    const auto [at, first] = counts.try_emplace(entry ? entry->key : gone->second.key);
    Count& count = at->second;
    ++count.connections;
    // One that is not counted makes the sum unknown.
    const auto add = [&, first = first](std::optional<std::uint64_t>& sum,
                                        const std::optional<std::uint64_t>& bytes) {
      if (first)
        sum = bytes;
      else
        sum = sum && bytes ? std::optional(*sum + *bytes) : std::nullopt;
    };
    add(count.bytes_in, flow.bytes_to_guest);
    add(count.bytes_out, flow.bytes_from_guest);
  }
  return counts;
}

// Makes what is missing, with all that is taken, in one transaction.
Result<void> NftablesOffload::put_in_place() {
  const auto before = host_->nft->look();
  if (!before) return Unexpected(before.error());
  std::string commands;
  if (before->guard.empty() || before->guard != guard_) commands += nft_make_guard_table();
  // What could not be taken down before.
  const bool stale = before->own && !in_place_;
  if (stale) commands += nft_remove_own_table();
  if (!before->own || stale) commands += nft_make_own_table() + entries_.everything().text();
  if (commands.empty()) return {};
  if (auto done = host_->nft->run(commands); !done) return done;
  auto after = host_->nft->look();
  if (!after) return Unexpected(std::move(after).error());
  if (!after->own || after->guard.empty())
    return Unexpected(ErrorCode::failed, "somebody takes our tables away again");
  guard_ = std::move(after->guard);
  in_place_ = true;
  return {};
}

// Nothing is applied any more. The tables go last; when the sysctl cannot be set back, the guard
// table stays.
void NftablesOffload::take_down() {
  (void)host_->nft->run(nft_empty_own_table());
  const bool closed = clear_localnet_links(*host_).has_value();
  (void)host_->nft->run(closed ? nft_remove_guard_table() : nft_make_guard_table());
  (void)host_->nft->run(nft_remove_own_table());
  entries_.clear();
  gone_.clear();
  guard_.clear();
  sweep_.reset();
  in_place_ = false;
}

void NftablesOffload::lose(std::string reason) {
  take_down();
  const auto lost = events_.lost;
  lost({false, std::move(reason)});
}

void NftablesOffload::tables_changed() {
  if (!in_place_) return;
  // What we do ourselves is told too; so what counts is what is there.
  const auto standing = host_->nft->look();
  if (standing && standing->own && standing->guard == guard_) return;
  std::string reason = "somebody took the nftables table \"";
  if (standing && standing->own && !standing->guard.empty())
    reason = "somebody changed the nftables table \"";
  reason.append(standing && !standing->own ? nft_own_table : nft_guard_table);
  reason += standing && standing->own && !standing->guard.empty() ? "\"" : "\" away";
  if (mends_too_often()) return lose(reason + " again and again");
  if (const auto placed = put_in_place(); !placed)
    return lose(reason + ": " + placed.error().message);
  const auto lost = events_.lost;
  lost({true, std::move(reason)});
}

bool NftablesOffload::mends_too_often() {
  const auto now = steady_clock::now();
  while (!mended_.empty() && now - mended_.front() > mends_within)
    mended_.pop_front();
  mended_.push_back(now);
  return mended_.size() > mends_at_most;
}

bool NftablesOffload::needs_link(const std::string& name) const {
  if (entries_.uses(name)) return true;
  for (const auto& [way, entry] : gone_)
    if (entry.bridge == name) return true;
  return false;
}

void NftablesOffload::links_changed(const std::optional<std::set<std::string>>& names) {
  if (!in_place_) return;
  bool concerned = !names;
  if (names)
    for (const std::string& name : *names)
      concerned = concerned || needs_link(name);
  if (!concerned) return;
  if (const auto set = set_links(); !set) lose(set.error().message);
}

// Sets the sysctl where it is needed and sets it back where it is not. A network that was restarted
// has its bridge made anew, under the same name and with the sysctl off.
Result<void> NftablesOffload::set_links() {
  const auto links = host_->links->all();
  if (!links) return Unexpected(links.error());
  for (const auto& link : *links) {
    const bool needed = needs_link(link.name);
    Result<void> set;
    if (needed && link.route_localnet == 0)
      set = host_->links->set(link.index, route_localnet_mark);
    else if (!needed && link.route_localnet == route_localnet_mark)
      set = host_->links->set(link.index, 0);
    // Any other error: the link is gone by now.
    if (!set && set.error().code == ErrorCode::not_allowed) return set;
  }
  return {};
}

// The indexes of those that were closed before.
Result<std::set<std::uint32_t>> NftablesOffload::open_links(const std::set<std::string>& names) {
  std::set<std::uint32_t> opened;
  const auto open = [&](const std::string& name) -> Result<void> {
    const auto link = host_->links->find(name);
    if (!link) return Unexpected(link.error());
    if (link->route_localnet != 0) return {};
    auto set = host_->links->set(link->index, route_localnet_mark);
    if (set) opened.insert(link->index);
    return set;
  };
  for (const std::string& name : names) {
    if (auto done = open(name); !done) {
      for (const std::uint32_t index : opened)
        (void)host_->links->set(index, 0);
      return Unexpected(std::move(done).error());
    }
  }
  return opened;
}

// How many connections went these ways and were ended.
std::size_t NftablesOffload::end_flows(const std::set<NftWay>& ways) {
  const auto flows = host_->flows->flows();
  if (!flows) return 0;
  std::size_t ended = 0;
  for (const TrackedFlow& flow : *flows) {
    if (!ways.contains(way_of(flow))) continue;
    if (host_->flows->end(flow)) ++ended;
  }
  return ended;
}

void NftablesOffload::sweep_later(std::chrono::milliseconds delay) {
  sweep_ = after(delay, [this] { sweep(); });
}

// Forgets the entries that are gone and have no connection any more, and sets the sysctl back where
// nothing needs it now; with the last one the tables go too. Of those that were cut it ends what
// had slipped through.
void NftablesOffload::sweep() {
  sweep_.reset();
  const auto flows = host_->flows->flows();
  if (!flows) return sweep_later(host_->sweep);
  std::set<NftWay> needed;
  for (const TrackedFlow& flow : *flows) {
    const auto at = gone_.find(way_of(flow));
    if (at == gone_.end()) continue;
    if (at->second.cut)
      (void)host_->flows->end(flow);
    else if (flow.phase != TrackedFlow::Phase::over)
      needed.insert(at->first);
  }
  for (auto at = gone_.begin(); at != gone_.end();) {
    const bool settled = std::exchange(at->second.settled, true);
    at = settled && !needed.contains(at->first) ? gone_.erase(at) : std::next(at);
  }
  // The host need not track connections for nothing.
  if (gone_.empty() && entries_.empty()) {
    take_down();
    return host_.reset();
  }
  if (!gone_.empty()) sweep_later(host_->sweep);
  if (const auto set = set_links(); !set) lose(set.error().message);
}

}  // namespace vf
