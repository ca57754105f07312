// SPDX-License-Identifier: LGPL-2.1-or-later

#include "offload/redirect.h"

#include <arpa/inet.h>
#include <glib.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <set>
#include <utility>
#include <vector>

#include "glib/source.h"
#include "offload/redirect_failures.h"
#include "offload/redirect_program.h"
#include "offload/redirect_sockets.h"

namespace vf {
namespace {

// Of a forward's key: all that a socket's mark has room for. Needs no table, so that sockets of
// forwards that are long gone are still known.
using Digest = std::array<std::uint64_t, 2>;

constexpr int most_rounds_of_cutting = 100;
constexpr std::chrono::seconds until_second_look{1};

Digest digest(const std::string& key) {
  std::array<guint8, 32> bytes{};
  gsize length = bytes.size();
  GChecksum* sum = g_checksum_new(G_CHECKSUM_SHA256);
  g_checksum_update(sum, reinterpret_cast<const guchar*>(key.data()),
                    static_cast<gssize>(key.size()));
  g_checksum_get_digest(sum, bytes.data(), &length);
  g_checksum_free(sum);
  Digest result{};
  std::memcpy(result.data(), bytes.data(), sizeof result);
  return result;
}

Digest digest(const __u64 (&forward)[2]) {
  return {forward[0], forward[1]};
}

void write_address(const IpAddress& address, __u64 (&words)[2]) {
  std::array<std::uint8_t, 16> bytes{};
  if (address.is_v4()) bytes[10] = bytes[11] = 0xff;
  const auto given = address.bytes();
  std::copy(given.begin(), given.end(), bytes.end() - static_cast<std::ptrdiff_t>(given.size()));
  std::memcpy(words, bytes.data(), sizeof words);
}

redirect_host host_of(const Endpoint& endpoint) {
  redirect_host host{};
  write_address(endpoint.address, host.address);
  host.port = htons(endpoint.port.number());
  return host;
}

redirect_guest guest_of(const OffloadEntry& entry) {
  redirect_guest guest{};
  write_address(entry.guest.address, guest.address);
  guest.port = htons(entry.guest.port.number());
  const Digest forward = digest(entry.key);
  std::memcpy(guest.forward, forward.data(), sizeof guest.forward);
  return guest;
}

Unexpected refuse(std::string why) {
  return Unexpected(ErrorCode::not_supported, "socket redirection " + std::move(why));
}

}  // namespace

class RedirectOffload::Impl {
 public:
  explicit Impl(std::chrono::milliseconds check) : check_(check) {}

  Result<void> start(Events events) {
    auto program = RedirectProgram::load(std::exchange(inherited_, {}));
    if (!program) return Unexpected(program.error());
    auto sockets = RedirectSockets::open((*program)->marks().get());
    if (!sockets) return Unexpected(sockets.error());
    if (auto attached = (*program)->attach(); !attached) return attached;
    program_ = *std::move(program);
    sockets_ = *std::move(sockets);
    events_ = std::move(events);
    if (const auto failures = program_->failures())
      failures_ = RedirectFailures::open(
          *failures, [this](const redirect_failure& failure) { failing(failure); });
    return {};
  }

  void inherit(Fd marks) { inherited_ = std::move(marks); }
  const Fd* left() { return program_ ? &program_->marks() : nullptr; }

  Result<void> admits(const OffloadEntry& entry) const {
    const IpAddress& host = entry.host.address;
    const IpAddress& guest = entry.guest.address;
    if (!program_) return refuse("was not started");
    if (entry.protocol != Protocol::tcp) return refuse("is for TCP only");
    if (!host.is_loopback()) return refuse("is for loopback addresses only");
    if (guest.is_loopback() || guest.is_wildcard())
      return refuse("cannot reach " + guest.text() + " in a guest");
    if (guest.is_link_local() && !guest.is_v4())
      return refuse("cannot name the link of " + guest.text());
    if (host.is_v4() && !guest.is_v4())
      return refuse("cannot take an IPv4 connection to an IPv6 address");
    if (!host.is_v4() && guest.is_v4() && !program_->reads_v6only())
      return refuse("from ::1 to an IPv4 address needs CAP_PERFMON");
    return {};
  }

  Result<void> apply(std::span<const OffloadEntry> gone, std::span<const OffloadEntry> added) {
    // What is in `entries_` changes at the very end only.
    std::map<Endpoint, const OffloadEntry*> wanted;
    std::set<Endpoint> dropped;
    for (const OffloadEntry& entry : gone) {
      const auto known = entries_.find(entry.host);
      if (known != entries_.end() && known->second == entry) dropped.insert(entry.host);
    }
    for (const OffloadEntry& entry : added) {
      if (auto admitted = admits(entry); !admitted) return admitted;
      const OffloadEntry* before = &entry;
      if (const auto known = entries_.find(entry.host);
          known != entries_.end() && !dropped.count(entry.host))
        before = &known->second;
      if (const auto known = wanted.find(entry.host); known != wanted.end()) before = known->second;
      if (*before != entry)
        return Unexpected(ErrorCode::invalid_argument,
                          entry.host.text() + " is taken to " + before->guest.text() + " already");
      wanted[entry.host] = &entry;
    }
    Changes changes;
    for (const Endpoint& host : dropped)
      if (!wanted.count(host)) changes.removed.push_back(host_of(host));
    for (const auto& [host, entry] : wanted)
      if (const auto known = entries_.find(host);
          known == entries_.end() || known->second != *entry) {
        changes.hosts.push_back(host_of(host));
        changes.guests.push_back(guest_of(*entry));
      }
    if (changes.removed.empty() && changes.hosts.empty()) return {};
    if (entries_.size() + changes.hosts.size() > redirect_most_entries)
      return refuse("holds " + std::to_string(redirect_most_entries) + " addresses at most");
    if (auto done = commit(changes); !done) return done;

    for (const Endpoint& host : dropped)
      forget(host);
    for (const auto& [host, entry] : wanted)
      remember(*entry);
    watch();
    return {};
  }

  void cut(std::span<const std::string> keys) {
    if (!sockets_) return;
    std::set<Digest> forwards;
    for (const std::string& key : keys)
      forwards.insert(digest(key));
    end_sockets(forwards);
    std::erase_if(forwards, [this](const Digest& forward) {
      const auto known = forwards_.find(forward);
      return known != forwards_.end() && known->second.entries > 0;
    });
    second_look_.merge(forwards);
    look_again_ =
        after(until_second_look, [this] { end_sockets(std::exchange(second_look_, {})); });
  }

  Result<std::map<std::string, Count>> counts() {
    std::map<std::string, Count> counted;
    if (!sockets_) return counted;
    const auto found = sockets_->list(RedirectSockets::Which::established);
    if (!found) return Unexpected(found.error());
    for (const auto& socket : *found)
      if (const auto known = forwards_.find(digest(socket.mark.guest.forward));
          known != forwards_.end())
        ++counted[known->second.key].connections;
    std::erase_if(forwards_, [&](const auto& forward) {
      return forward.second.entries == 0 && !counted.count(forward.second.key);
    });
    return counted;
  }

 private:
  struct Forward {
    std::string key;
    std::size_t entries = 0;
  };
  struct Changes {
    std::vector<redirect_host> removed;
    std::vector<redirect_host> hosts;
    std::vector<redirect_guest> guests;
  };

  Result<void> commit(const Changes& changes) {
    if (!changes.hosts.empty() && !program_->missing().empty())
      if (auto attached = program_->attach(); !attached) return attached;
    auto done = program_->remove(changes.removed);
    if (done) done = program_->set(changes.hosts, changes.guests);
    if (!done) undo(changes);
    return done;
  }

  // The map holds what `entries_` says again. Its elements are allocated beforehand, so that there
  // is room for what was there.
  void undo(const Changes& changes) {
    std::vector<redirect_host> hosts;
    std::vector<redirect_guest> guests;
    for (const redirect_host& host : changes.hosts)
      static_cast<void>(program_->remove({&host, 1}));
    for (const auto& [host, entry] : entries_) {
      hosts.push_back(host_of(host));
      guests.push_back(guest_of(entry));
    }
    static_cast<void>(program_->set(hosts, guests));
  }

  void end_sockets(const std::set<Digest>& forwards) {
    // A connect() that had its answer from the map before the entry went is not to be seen at once.
    for (int round = 0; round < most_rounds_of_cutting && !forwards.empty(); ++round) {
      const auto found = sockets_->list(RedirectSockets::Which::all);
      if (!found) return;
      bool any = false;
      for (const auto& socket : *found)
        if (forwards.count(digest(socket.mark.guest.forward)) && sockets_->destroy(socket))
          any = true;
      if (!any) return;
    }
  }

  void remember(const OffloadEntry& entry) {
    forget(entry.host);
    entries_.emplace(entry.host, entry);
    const Digest name = digest(entry.key);
    second_look_.erase(name);
    Forward& forward = forwards_[name];
    forward.key = entry.key;
    ++forward.entries;
  }

  // The forward's name stays for as long as it has connections.
  void forget(const Endpoint& host) {
    const auto known = entries_.find(host);
    if (known == entries_.end()) return;
    --forwards_[digest(known->second.key)].entries;
    entries_.erase(known);
  }

  void watch() {
    if (entries_.empty())
      watch_.reset();
    else if (!watch_)
      watch_ = every(check_, [this] { check(); });
  }

  void check() {
    Loss loss;
    loss.reason = program_->missing();
    if (loss.reason.empty()) return;
    const auto attached = program_->attach();
    loss.mended = attached.has_value();
    if (!attached) {
      loss.reason += "; " + attached.error().message;
      std::vector<redirect_host> hosts;
      for (const auto& [host, entry] : entries_)
        hosts.push_back(host_of(host));
      static_cast<void>(program_->remove(hosts));
      while (!entries_.empty())
        forget(entries_.begin()->first);
      watch();
    }
    if (events_.lost) events_.lost(loss);
  }

  void failing(const redirect_failure& failure) {
    const auto known = forwards_.find(digest(failure.forward));
    if (known == forwards_.end() || known->second.entries == 0 || !events_.failing) return;
    events_.failing(std::string(known->second.key), static_cast<int>(failure.error));
  }

  const std::chrono::milliseconds check_;
  Events events_;
  Fd inherited_;
  std::unique_ptr<RedirectProgram> program_;
  std::unique_ptr<RedirectSockets> sockets_;
  std::unique_ptr<RedirectFailures> failures_;
  std::map<Endpoint, OffloadEntry> entries_;
  std::map<Digest, Forward> forwards_;
  Source watch_;
  std::set<Digest> second_look_;
  Source look_again_;
};

RedirectOffload::RedirectOffload(std::chrono::milliseconds check)
    : impl_(std::make_unique<Impl>(check)) {}
RedirectOffload::~RedirectOffload() = default;

Result<void> RedirectOffload::start(Events events) {
  return impl_->start(std::move(events));
}
const Fd* RedirectOffload::left() {
  return impl_->left();
}
void RedirectOffload::inherit(Fd marks) {
  impl_->inherit(std::move(marks));
}
Result<void> RedirectOffload::admits(const OffloadEntry& entry) const {
  return impl_->admits(entry);
}
Result<void> RedirectOffload::apply(std::span<const OffloadEntry> gone,
                                    std::span<const OffloadEntry> added) {
  return impl_->apply(gone, added);
}
void RedirectOffload::cut(std::span<const std::string> keys) {
  impl_->cut(keys);
}
Result<std::map<std::string, KernelOffload::Count>> RedirectOffload::counts() {
  return impl_->counts();
}

}  // namespace vf
