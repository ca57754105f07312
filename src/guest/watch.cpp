// SPDX-License-Identifier: LGPL-2.1-or-later
//
// Theory of operation
//
// A hint (or the end of a period, where there are none) arms a timer; what comes until it expires
// costs nothing more. Then the sockets are looked at once, and what is different from what was told
// is told. The time between two looks grows with the time that one takes: ten thousand sockets
// cannot keep the processor busy.
//
// The process of a socket is looked for when the socket is new: first in the process that the hint
// names, then in all of them. It is looked for again when that process ends, which a pidfd tells.
// A process that takes another name (exec, prctl) says so to nobody; a few are looked at in each
// period.

#include "guest/watch.h"

#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <iterator>
#include <utility>

namespace vf::guest {
namespace {

using std::chrono::microseconds;
using std::chrono::milliseconds;

constexpr milliseconds fallback_period{1000};
constexpr milliseconds tick_period{2000};
// Everything is looked at so often although nobody said that it changed.
constexpr int ticks_between_looks = 30;
constexpr int ticks_between_first = 5;
constexpr int ticks_between_sockets = 5;
constexpr milliseconds debounce{1};
// A look is followed by a pause of so many times its duration; not longer, for what takes long may
// only have been held up.
constexpr int pause_factor = 9;
constexpr microseconds longest_pause{300'000};
// An announced port that is not there yet is looked for again after 1, 2, 4, ... ms.
constexpr int max_tries_for_port = 7;
constexpr int tries_for_process = 3;
constexpr std::size_t owners_per_tick = 32;
constexpr std::size_t max_hints = 256;

std::chrono::seconds time_asleep() {
  timespec awake{};
  timespec all{};
  clock_gettime(CLOCK_MONOTONIC, &awake);
  clock_gettime(CLOCK_BOOTTIME, &all);
  // To the nearest: the two are not read at once.
  const auto ms = (all.tv_sec - awake.tv_sec) * 1000 + (all.tv_nsec - awake.tv_nsec) / 1'000'000;
  return std::chrono::seconds((ms + 500) / 1000);
}

}  // namespace

void Watch::Owner::ready(std::uint32_t) {
  if (!pidfd) return;
  stop();
  watch->owner_ended(pid);
}

void Watch::Owner::stop() {
  if (pidfd) watch->loop_.unwatch(pidfd.get());
  pidfd.reset();
}

Watch::Watch(Loop& loop, SocketTable& sockets, const Config& config, bool hints)
    : loop_(loop),
      sockets_(sockets),
      config_(config),
      may_hint_(hints),
      look_timer_(loop, *this, &Watch::look),
      tick_timer_(loop, *this, &Watch::tick) {}

Watch::~Watch() {
  end();
}

bool Watch::anybody_wants_udp() const {
  return std::ranges::any_of(subscribers_, [](const Subscriber* one) { return one->wants_udp(); });
}

void Watch::begin() {
  ask_for_hints();
  ticks_ = 0;
  slept_ = time_asleep();
  tick();
}

void Watch::ask_for_hints() {
  tcp_.reset();
  no_wake_up_ = "not wanted";
  if (!may_hint_) return;
  const auto listener = [this](const std::vector<SocketHint>& hints) { hinted(hints); };
  tcp_ = TcpWakeUp::create(loop_, listener, no_wake_up_);
}

void Watch::end() {
  look_timer_.disarm();
  tick_timer_.disarm();
  tcp_.reset();
  for (auto& [pid, owner] : owners_) {
    owner->stop();
    loop_.retire(std::move(owner));
  }
  owners_.clear();
  told_.clear();
  hints_ = {};
  missing_.clear();
  left_out_ = 0;
}

milliseconds Watch::fallback(bool udp) const {
  return tcp_ && !udp ? milliseconds(0) : fallback_period;
}

std::string Watch::wake_up_source() const {
  if (tcp_) return "tracepoint sock:inet_sock_set_state";
  return "a look each second (" + no_wake_up_ + ")";
}

void Watch::join(Subscriber& subscriber) {
  const bool first = subscribers_.empty();
  // The others are told what has changed, this one everything.
  if (first) begin();
  subscribers_.push_back(&subscriber);
  std::vector<Subscriber*> others = subscribers_;
  others.pop_back();
  std::swap(others, subscribers_);
  const bool udp = subscriber.wants_udp() || anybody_wants_udp();
  take(dump(udp));
  std::swap(others, subscribers_);
  for (const auto& [key, entry] : told_)
    if (!key.udp || subscriber.wants_udp()) subscriber.listens(entry.listener);
  subscriber.synced(left_out_);
}

void Watch::leave(Subscriber& subscriber) {
  std::erase(subscribers_, &subscriber);
  if (subscribers_.empty()) end();
}

void Watch::wants_changed(Subscriber& subscriber, bool wanted_udp_before) {
  const bool wants = subscriber.wants_udp();
  if (wants && !wanted_udp_before) {
    for (const auto& [key, entry] : told_)
      if (key.udp) subscriber.listens(entry.listener);
  } else if (!wants && wanted_udp_before) {
    for (const auto& [key, entry] : told_)
      if (key.udp) subscriber.gone(key);
  }
  take(dump(anybody_wants_udp()));
  subscriber.synced(left_out_);
}

void Watch::config_changed() {
  if (!subscribers_.empty()) look_soon(microseconds(0));
}

void Watch::hinted(const std::vector<SocketHint>& hints) {
  for (const SocketHint& hint : hints) {
    if (hints_.size() < max_hints) hints_.push_back(hint);
    if (hint.begins) missing_.try_emplace(hint.port, 0);
  }
  look_soon(debounce);
}

void Watch::look_soon(microseconds delay) {
  const auto now = Clock::now();
  const auto since = std::chrono::duration_cast<microseconds>(now - looked_);
  const microseconds wait = std::max(delay, pause_ - since);
  if (look_timer_.armed() && look_at_ <= now + wait) return;
  look_at_ = now + wait;
  look_timer_.arm(wait);
}

void Watch::look() {
  if (subscribers_.empty()) return;
  take(dump(anybody_wants_udp()));
}

Watch::Found Watch::dump(bool udp) {
  ++looks_;
  const auto before = Clock::now();
  std::vector<BoundSocket> sockets;
  sockets_.dump(false, sockets);
  Found found;
  const auto sort = [&] {
    for (const BoundSocket& socket : sockets)
      if (config_.permits(socket.key)) found[socket.key].push_back(socket);
  };
  // What was announced and is denied is not missing.
  for (const BoundSocket& socket : sockets)
    if (!missing_.empty()) missing_.erase(socket.key.port.number());
  sort();
  sockets.clear();
  if (udp) {
    sockets_.dump(true, sockets);
    sort();
  }
  looked_ = Clock::now();
  pause_ = std::min(std::chrono::duration_cast<microseconds>(looked_ - before) * pause_factor,
                    longest_pause);
  return found;
}

// Its time from setting the state to being found is short, unless it has ceased already.
void Watch::look_again_for_missing() {
  microseconds next = microseconds::max();
  for (auto at = missing_.begin(); at != missing_.end();) {
    const int tries = at->second++;
    // A port that the kernel chooses is not known when it is announced.
    const int most = at->first == 0 ? 2 : max_tries_for_port;
    if (tries >= most) {
      at = missing_.erase(at);
      continue;
    }
    next = std::min<microseconds>(next, milliseconds(1 << tries));
    ++at;
  }
  if (!missing_.empty()) look_soon(next);
}

void Watch::take(const Found& found) {
  for (auto at = told_.begin(); at != told_.end();) {
    if (found.contains(at->first)) {
      ++at;
      continue;
    }
    tell_gone(at->first);
    at = told_.erase(at);
  }

  std::vector<Entry*> nameless;
  std::vector<Entry*> fresh;
  std::uint32_t left_out = 0;
  for (const auto& [key, sockets] : found) {
    auto at = told_.find(key);
    if (at == told_.end()) {
      if (told_.size() >= max_listeners) {
        ++left_out;
        continue;
      }
      at = told_.try_emplace(key).first;
      at->second.listener.key = key;
    }
    Entry& entry = at->second;
    const bool same = std::ranges::any_of(
        sockets, [&](const BoundSocket& one) { return one.inode == entry.inode; });
    if (!same) {
      const BoundSocket& eldest = *std::ranges::min_element(sockets, {}, &BoundSocket::inode);
      entry.inode = eldest.inode;
      entry.listener.uid = eldest.uid;
      entry.listener.pid = 0;
      entry.tries_left = tries_for_process;
      fresh.push_back(&entry);
    }
    if (entry.listener.pid == 0 && entry.tries_left > 0) nameless.push_back(&entry);
  }
  std::map<const Entry*, GuestListener> before;
  for (const Entry* const entry : nameless)
    before.emplace(entry, entry->listener);
  name_processes(nameless);
  for (const Entry* const entry : nameless) {
    const bool is_fresh = std::ranges::find(fresh, entry) != fresh.end();
    if (is_fresh || entry->listener != before.at(entry)) tell(entry->listener);
  }
  drop_unused_owners();
  if (std::exchange(left_out_, left_out) != left_out)
    for (Subscriber* const one : subscribers_)
      one->synced(left_out_);
  hints_.clear();
  look_again_for_missing();
}

void Watch::name_processes(std::vector<Entry*>& nameless) {
  if (nameless.empty()) return;
  std::map<std::uint32_t, ProcessText> texts;
  const auto text_of = [&texts](std::uint32_t pid) -> const ProcessText& {
    const auto [at, is_new] = texts.try_emplace(pid);
    if (is_new) at->second = read_process(pid);
    return at->second;
  };

  // Of each process that a hint names, once.
  std::map<std::uint32_t, std::vector<std::uint32_t>> held;
  const auto holds = [&held](std::uint32_t pid, std::uint32_t inode) {
    const auto [at, is_new] = held.try_emplace(pid);
    if (is_new) at->second = sockets_of(pid);
    return std::ranges::binary_search(at->second, inode);
  };
  std::vector<std::uint32_t> inodes;
  for (Entry* const entry : nameless) {
    --entry->tries_left;
    const auto port = entry->listener.key.port.number();
    std::uint32_t caller = 0;
    for (const SocketHint& hint : hints_)
      if (hint.begins && (hint.port == port || hint.port == 0) && hint.pid > 1 &&
          holds(hint.pid, entry->inode))
        caller = hint.pid;
    if (caller != 0)
      give_owner(*entry, caller, text_of(caller));
    else
      inodes.push_back(entry->inode);
  }
  if (inodes.empty()) return;
  const auto holders = find_holders(inodes);
  for (Entry* const entry : nameless) {
    const auto at = holders.find(entry->inode);
    if (entry->listener.pid == 0 && at != holders.end())
      give_owner(*entry, at->second, text_of(at->second));
  }
  for (Entry* const entry : nameless)
    if (entry->listener.pid == 0) give_owner(*entry, 0, {});
}

void Watch::give_owner(Entry& entry, std::uint32_t pid, const ProcessText& text) {
  entry.listener.pid = pid;
  entry.listener.name = text.name;
  entry.listener.command = text.command;
  entry.listener.container = text.container;
  if (pid <= 1 || owners_.contains(pid)) return;
  auto owner = std::make_unique<Owner>();
  owner->watch = this;
  owner->pid = pid;
  owner->pidfd.reset(static_cast<int>(syscall(SYS_pidfd_open, pid, 0)));
  if (owner->pidfd && !loop_.watch(owner->pidfd.get(), EPOLLIN, *owner)) owner->pidfd.reset();
  // Without one, it is found out when its turn comes.
  owners_.emplace(pid, std::move(owner));
}

void Watch::owner_ended(std::uint32_t pid) {
  if (const auto at = owners_.find(pid); at != owners_.end()) {
    at->second->stop();
    loop_.retire(std::move(at->second));
    owners_.erase(at);
  }
  for (auto& [key, entry] : told_) {
    if (entry.listener.pid != pid) continue;
    entry.listener.pid = 0;
    entry.tries_left = tries_for_process;
  }
  look_soon(debounce);
}

void Watch::drop_unused_owners() {
  std::vector<std::uint32_t> used;
  for (const auto& [key, entry] : told_)
    used.push_back(entry.listener.pid);
  std::ranges::sort(used);
  for (auto at = owners_.begin(); at != owners_.end();) {
    if (std::ranges::binary_search(used, at->first)) {
      ++at;
      continue;
    }
    at->second->stop();
    loop_.retire(std::move(at->second));
    at = owners_.erase(at);
  }
}

// Socket activation: process 1 listens, and the service that it starts takes over.
void Watch::refresh_sockets_of_first() {
  std::vector<std::uint32_t> inodes;
  for (const auto& [key, entry] : told_)
    if (entry.listener.pid == 1) inodes.push_back(entry.inode);
  if (inodes.empty()) return;
  const auto holders = find_holders(inodes);
  for (auto& [key, entry] : told_) {
    const auto at = holders.find(entry.inode);
    if (entry.listener.pid != 1 || at == holders.end() || at->second == 1) continue;
    give_owner(entry, at->second, read_process(at->second));
    tell(entry.listener);
  }
}

void Watch::tick() {
  tick_timer_.arm(tcp_ && !anybody_wants_udp() ? tick_period : fallback_period);
  ++ticks_;
  if (subscribers_.empty()) return;
  // Events of a processor may not survive that it goes, as all but one do while the machine sleeps.
  const bool slept = std::exchange(slept_, time_asleep()) != slept_;
  if (tcp_ && (slept || !tcp_->covers_all())) {
    ask_for_hints();
    look_soon(microseconds(0));
    if (!tcp_)
      for (Subscriber* const one : subscribers_)
        one->fallback_changed();
  }
  refresh_owners();
  if (ticks_ % ticks_between_first == 0) refresh_sockets_of_first();
  const bool nameless = std::ranges::any_of(told_, [](const auto& one) {
    return one.second.listener.pid == 0 && one.second.tries_left > 0;
  });
  if (!tcp_ || anybody_wants_udp() || nameless || ticks_ % ticks_between_looks == 0)
    look_soon(microseconds(0));
}

// The next few processes in turn; of one of them, less often, whether it has its sockets still.
void Watch::refresh_owners() {
  std::size_t most = std::min(owners_per_tick, owners_.size());
  for (bool first = ticks_ % ticks_between_sockets == 0; most > 0; --most, first = false) {
    auto at = owners_.upper_bound(refreshed_);
    if (at == owners_.end()) at = owners_.begin();
    const std::uint32_t pid = refreshed_ = at->first;
    const ProcessText text = read_process(pid);
    const auto held = first ? sockets_of(pid) : std::vector<std::uint32_t>();
    for (auto& [key, entry] : told_) {
      if (entry.listener.pid != pid) continue;
      if (text.name.empty() || (first && !std::ranges::binary_search(held, entry.inode))) {
        entry.listener.pid = 0;
        entry.tries_left = tries_for_process;
        continue;
      }
      const GuestListener before = entry.listener;
      entry.listener.name = text.name;
      entry.listener.command = text.command;
      entry.listener.container = text.container;
      if (!(entry.listener == before)) tell(entry.listener);
    }
  }
}

void Watch::tell(const GuestListener& listener) {
  for (Subscriber* const one : subscribers_)
    if (!listener.key.udp || one->wants_udp()) one->listens(listener);
}

void Watch::tell_gone(const ListenerKey& key) {
  for (Subscriber* const one : subscribers_)
    if (!key.udp || one->wants_udp()) one->gone(key);
}

}  // namespace vf::guest
