// SPDX-License-Identifier: LGPL-2.1-or-later

#include "daemon/offloads.h"

#include <ifaddrs.h>
#include <netinet/in.h>
#include <sys/socket.h>

#include <algorithm>
#include <utility>

#include "base/fd.h"
#include "base/listening_socket.h"
#include "daemon/journal.h"

namespace vf {
namespace {

// What asks for the relay's own work on each connection; empty where nothing does.
std::string needs_relay(const ForwardDefinition& forward, const Policy& policy) {
  if (forward.proxy_protocol != ProxyProtocol::none) return "proxy-protocol needs the relay";
  if (forward.idle_timeout) return "idle-timeout needs the relay";
  if (forward.max_connections) return "max-connections needs the relay";
  for (const char* key : {"connections-per-forward", "connections-per-domain"})
    if (policy.files.contains({"limits", key}))
      return "the host limits connections (" + policy.origin("limits", key) +
             "), which the relay counts";
  return {};
}

constexpr std::chrono::seconds retry_time{30};

// The host's own address towards a guest, without a packet being sent.
std::optional<IpAddress> address_towards(const Endpoint& guest) {
  const auto address = SocketAddress::from(guest.address, guest.port);
  const Fd probe(socket(address.storage.ss_family, SOCK_DGRAM | SOCK_CLOEXEC, 0));
  if (!probe || connect(probe.get(), address.get(), address.length) < 0) return std::nullopt;
  const auto own = local_endpoint(probe);
  return own ? std::optional(own->address) : std::nullopt;
}

std::optional<IpAddress> address_of(const sockaddr* address) {
  if (!address) return std::nullopt;
  if (address->sa_family == AF_INET) {
    const auto* in = reinterpret_cast<const sockaddr_in*>(address);
    return IpAddress::from_bytes({reinterpret_cast<const std::uint8_t*>(&in->sin_addr), 4});
  }
  if (address->sa_family != AF_INET6) return std::nullopt;
  const auto* in6 = reinterpret_cast<const sockaddr_in6*>(address);
  return IpAddress::from_bytes({reinterpret_cast<const std::uint8_t*>(&in6->sin6_addr), 16},
                               in6->sin6_scope_id);
}

}  // namespace

std::string link_towards(const Endpoint& guest) {
  const auto own = address_towards(guest);
  ifaddrs* list = nullptr;
  if (!own || getifaddrs(&list) < 0) return {};
  std::string name;
  for (const ifaddrs* one = list; one && name.empty(); one = one->ifa_next)
    if (address_of(one->ifa_addr) == own) name = one->ifa_name;
  freeifaddrs(list);
  return name;
}

void Offloads::add(std::unique_ptr<KernelOffload> offload, Start start_it) {
  backends_.push_back({std::move(offload), false, start_it == Start::with_relay, false, {}});
  if (start_it == Start::now) start(backends_.back());
}

void Offloads::relay_ready(std::map<std::string, Fd> kept) {
  for (Backend& one : backends_) {
    if (!std::exchange(one.waits, false)) continue;
    const auto found = kept.find(std::string(text(one.offload->kind())));
    one.inherits = found != kept.end();
    if (one.inherits) one.offload->inherit(std::move(found->second));
    start(one);
  }
}

std::map<std::string, int> Offloads::keepsakes() const {
  std::map<std::string, int> left;
  for (const Backend& one : backends_)
    if (const Fd* fd = one.started ? one.offload->left() : nullptr)
      left.emplace(text(one.offload->kind()), fd->get());
  return left;
}

// False where it cannot work here, from now on.
bool Offloads::start(Backend& backend) {
  const Offload kind = backend.offload->kind();
  const auto started =
      backend.offload->start({[this, kind](const KernelOffload::Loss& loss) { lost(kind, loss); },
                              [this, kind](const std::string& key, int error_number) {
                                if (applied(key) == kind) on_failing_(key, error_number);
                              }});
  backend.started = started.has_value();
  if (!started) backend.failure = started.error().message;
  log(LogLevel::info, started ? "offload ready" : "offload not possible here",
      {{"offload", std::string(text(kind))}, {"reason", backend.failure}});
  return backend.started;
}

Offloads::Backend* Offloads::backend(Offload kind) {
  for (Backend& one : backends_)
    if (one.offload->kind() == kind) return &one;
  return nullptr;
}

OffloadChoice Offloads::choose(const OffloadRequest& request, const Policy& policy) const {
  OffloadChoice choice;
  const ForwardDefinition& spec = *request.spec;
  const std::string relays = needs_relay(spec, policy);
  for (const Backend& one : backends_) {
    const Offload kind = one.offload->kind();
    WayView& way = choice.ways.emplace_back();
    way.way = text(kind);
    way.reason = [&]() -> std::string {
      if (spec.offload != Offload::automatic && spec.offload != kind)
        return "offload=\"" + std::string(text(spec.offload)) + '"';
      if (!policy.allows(kind))
        return "not allowed by this host (" + policy.origin("host", "offloads") + ')';
      if (!relays.empty()) return relays;
      if (!one.failure.empty()) return one.failure;
      if (const auto found = refused_.find(request.key); found != refused_.end())
        return found->second;
      if (!request.host_port) return "a host socket is the relay's alone";
      if (!request.obstacle.empty()) return request.obstacle;
      if (!request.guest) return "no connection got through to the guest by tcp yet";
      if (choice.kind != Offload::none) return std::string(text(choice.kind)) + " is taken";
      std::string refusal;
      for (const IpAddress& address : request.host_addresses) {
        OffloadEntry entry{request.key,
                           spec.protocol,
                           {address, *request.host_port},
                           *request.guest,
                           request.link};
        if (const auto admitted = one.offload->admits(entry))
          choice.entries.push_back(std::move(entry));
        else
          refusal = admitted.error().message;
      }
      if (choice.entries.empty()) return refusal;
      choice.kind = kind;
      way.state = WayState::used;
      return {};
    }();
  }
  return choice;
}

void Offloads::shrink(const std::set<std::string>& uuids, const Wanted& wanted) {
  std::map<Offload, std::vector<OffloadEntry>> gone;
  for (const std::string& uuid : uuids) {
    const std::string prefix = uuid + '/';
    for (auto next = applied_.lower_bound(prefix);
         next != applied_.end() && next->first.starts_with(prefix); ++next) {
      const auto found = wanted.find(next->first);
      const bool stays = found != wanted.end() && found->second.kind == next->second.kind &&
                         found->second.entries == next->second.entries;
      const auto& entries = next->second.entries;
      auto& list = gone[next->second.kind];
      if (!stays) list.insert(list.end(), entries.begin(), entries.end());
    }
  }
  for (const auto& [kind, entries] : gone) {
    if (entries.empty()) continue;
    const auto applied = backend(kind)->offload->apply(entries, {});
    if (applied) {
      for (const OffloadEntry& entry : entries)
        applied_.erase(entry.key);
      continue;
    }
    // It stays known as applied, so that the next look at the domain tries again.
    log(LogLevel::error, "an offload cannot be taken away",
        {{"offload", std::string(text(kind))}, {"reason", applied.error().message}});
    retry_later();
  }
}

void Offloads::grow(const Wanted& wanted) {
  std::map<Offload, std::vector<OffloadEntry>> added;
  for (const auto& [key, choice] : wanted) {
    if (choice.kind == Offload::none || applied_.contains(key)) continue;
    auto& list = added[choice.kind];
    list.insert(list.end(), choice.entries.begin(), choice.entries.end());
  }
  for (const auto& [kind, entries] : added) {
    Backend& to = *backend(kind);
    if (!to.started && !start(to)) {
      // Another one may take them.
      judged_anew_ = on_idle(on_change_);
      continue;
    }
    const auto applied = to.offload->apply({}, entries);
    for (const OffloadEntry& entry : entries) {
      if (!applied) {
        refused_[entry.key] = applied.error().message;
        continue;
      }
      Applied& now = applied_[entry.key];
      now.kind = kind;
      now.entries.push_back(entry);
      past_[entry.key].insert(kind);
    }
    if (applied) continue;
    log(LogLevel::warning, "an offload cannot be applied",
        {{"offload", std::string(text(kind))}, {"reason", applied.error().message}});
    retry_later();
  }
}

void Offloads::cut(std::span<const std::string> keys) {
  std::map<Offload, std::vector<std::string>> by_kind;
  for (const std::string& key : keys) {
    const auto found = past_.extract(key);
    for (const Backend& one : backends_) {
      const Offload kind = one.offload->kind();
      const bool took_some = found && found.mapped().contains(kind);
      if (one.started && (one.inherits || took_some)) by_kind[kind].push_back(key);
    }
  }
  for (const auto& [kind, list] : by_kind)
    backend(kind)->offload->cut(list);
}

Offload Offloads::applied(const std::string& key) const {
  const auto found = applied_.find(key);
  return found == applied_.end() ? Offload::none : found->second.kind;
}

std::map<std::string, std::uint64_t> Offloads::connections() {
  std::map<std::string, std::uint64_t> connections;
  for (const auto& [key, kinds] : past_)
    connections[key];
  for (const Backend& one : backends_) {
    if (!one.started) continue;
    const auto counted = one.offload->counts();
    if (!counted) continue;
    for (const auto& [key, count] : *counted)
      if (one.inherits || connections.contains(key)) connections[key] += count.connections;
  }
  return connections;
}

// What was put back already is as it was; else everything is judged anew.
void Offloads::lost(Offload kind, const KernelOffload::Loss& loss) {
  if (loss.mended)
    return log(LogLevel::warning, "an offload was taken away and has been put back",
               {{"offload", std::string(text(kind))}, {"reason", loss.reason}});
  std::erase_if(applied_, [&](const auto& one) { return one.second.kind == kind; });
  fail(*backend(kind), loss.reason);
  on_change_();
}

// The relay serves its forwards for a while.
void Offloads::fail(Backend& backend, std::string reason) {
  log(LogLevel::warning, "an offload does not work for now",
      {{"offload", std::string(text(backend.offload->kind()))}, {"reason", reason}});
  backend.failure = std::move(reason);
  retry_later();
}

void Offloads::retry_later() {
  if (retry_) return;
  retry_ = after(retry_time, [this] {
    retry_.reset();
    refused_.clear();
    for (Backend& one : backends_)
      if (one.started) one.failure.clear();
    on_change_();
  });
}

}  // namespace vf
