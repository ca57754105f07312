// SPDX-License-Identifier: LGPL-2.1-or-later
//
// Theory of operation. QEMU is asked one thing at a time for each guest, and after each answer
// step() decides anew, from what is wanted and what QEMU is known to have:
//
//   1. what it has is in doubt (a new run, check(), an answer that is none): survey;
//   2. it has a rule of ours that serves no target: remove it;
//   3. a target has no rule, and none was refused lately: add one;
//   4. nothing is left to do: rest, and after a refusal try again, later and later.
//
// So an order that changes while QEMU works, an interface that goes, and rules of an earlier daemon
// need no paths of their own. An answer belongs to the Guest that asked: another run is another
// Guest, and what comes for the one before finds it gone.
//
// Ports are taken from the bottom of a range above the kernel's own (ip_local_port_range) and so
// that all domains use the same few numbers: QEMU's socket on a hidden address keeps a server that
// wants the same port on all addresses (0.0.0.0) from starting.

#include "transport/usernet_tunnels.h"

#include <algorithm>
#include <charconv>
#include <chrono>
#include <fstream>
#include <limits>
#include <utility>

#include "base/listening_socket.h"
#include "glib/source.h"

namespace vf {
namespace {

using std::chrono::milliseconds;

constexpr milliseconds first_delay{1000};
constexpr milliseconds longest_delay{60'000};
constexpr unsigned lowest_port = 61'000;
// QEMU may still find a port taken that was free a moment ago. So often in a row it is not that.
constexpr int max_ports_refused = 8;

constexpr const char* being_laid = "QEMU is being asked for a port";

struct Serving {
  UsernetRule rule;
  // QEMU listens where this process would: not so in a network namespace of its own.
  bool here = true;
};

// What the rule was made for; see hidden_address().
TunnelTarget target_of(const UsernetRule& rule) {
  TunnelTarget target;
  target.protocol = rule.protocol;
  target.port = rule.guest.port;
  if (rule.host.address.bytes()[3] & 1) target.address = rule.guest.address;
  return target;
}

bool same(const TunnelEnds& one, const TunnelEnds& other) {
  return std::ranges::equal(one, other, [](const auto& a, const auto& b) {
    if (a.first != b.first || a.second.has_value() != b.second.has_value()) return false;
    return a.second ? *a.second == *b.second : a.second.error() == b.second.error();
  });
}

}  // namespace

bool is_hidden_address(const IpAddress& address) {
  return address.is_v4() && address.in_subnet(IpAddress::v4({127, 64, 0, 0}), 10);
}

IpAddress hidden_address(std::string_view uuid, int run, bool names_address) {
  // FNV-1a: the next daemon, of whatever version, shall come to the same.
  std::uint64_t hash = 0xcbf29ce484222325;
  const std::string key = std::string(uuid) + '/' + std::to_string(run);
  for (const char c : key)
    hash = (hash ^ static_cast<std::uint8_t>(c)) * 0x100000001b3;
  hash ^= hash >> 32;
  const auto byte = [&](unsigned shift, unsigned mask) {
    return static_cast<std::uint8_t>((hash >> shift) & mask);
  };
  const std::uint8_t parity = names_address ? 1 : 0;
  return IpAddress::v4({127, static_cast<std::uint8_t>(64 | byte(16, 63)), byte(8, 255),
                        static_cast<std::uint8_t>(byte(0, 254) | parity)});
}

std::string why_no_usernet(const TunnelTarget& target) {
  if (!target.port) return "QEMU's user network reaches ports, not socket files in the guest";
  if (!target.address) return {};
  if (!target.address->is_v4()) return "QEMU's user network forwards to IPv4 addresses only";
  const std::uint8_t first = target.address->bytes()[0];
  if (target.address->is_loopback() || first == 0 || first >= 224)
    return "QEMU's user network does not reach " + target.address->text() + " in the guest";
  return {};
}

bool UsernetTunnels::is_free_here(Protocol protocol, const Endpoint& endpoint) {
  const auto bound = protocol == Protocol::tcp ? listen_tcp(endpoint.address, endpoint.port)
                                               : bind_udp(endpoint.address, endpoint.port);
  return std::holds_alternative<Fd>(bound);
}

// /proc/net/tcp: "   0: 0201407F:EE48 00000000:0000 0A ...", addresses as the processor has them.
std::set<IpAddress> UsernetTunnels::hidden_listeners_here() {
  std::set<IpAddress> found;
  for (const char* path : {"/proc/self/net/tcp", "/proc/self/net/udp"}) {
    std::ifstream file(path);
    std::string number, local, remote, state;
    constexpr auto rest_of_line = std::numeric_limits<std::streamsize>::max();
    for (file.ignore(rest_of_line, '\n'); file >> number >> local >> remote >> state;
         file.ignore(rest_of_line, '\n')) {
      const bool listens = remote == "00000000:0000" && (state == "0A" || state == "07");
      if (!listens || local.size() < 8) continue;
      std::uint32_t raw = 0;
      const auto [end, error] = std::from_chars(local.data(), local.data() + 8, raw, 16);
      if (error != std::errc{} || end != local.data() + 8) continue;
      in_addr address{raw};
      const auto* bytes = reinterpret_cast<const std::uint8_t*>(&address);
      const auto ip = IpAddress::from_bytes({bytes, 4});
      if (ip && is_hidden_address(*ip)) found.insert(*ip);
    }
  }
  return found;
}

struct UsernetTunnels::Guest {
  explicit Guest(TunnelOrder its_order) : order(std::move(its_order)) {}

  TunnelOrder order;
  bool leaving = false;  // forgotten; here until its rules are gone
  bool asked = false;    // QEMU has a command of ours
  // What QEMU has is known when both are the same.
  unsigned doubts = 1;
  unsigned settled = 0;
  std::vector<Serving> serving;
  // Of this attempt, until the next.
  std::map<TunnelTarget, Error> refused;
  std::optional<Error> problem;      // with QEMU as a whole
  std::set<std::string> no_netdevs;  // that QEMU does not know
  std::set<std::pair<Protocol, Endpoint>> busy;
  int ports_refused = 0;
  Source retry;
  milliseconds delay = first_delay;
  TunnelEnds ends;

  bool certain() const { return settled == doubts; }
  bool wants(const TunnelTarget& target) const {
    return !leaving && order.targets.contains(target) && why_no_usernet(target).empty();
  }
  const Serving* serves(const TunnelTarget& target) const {
    const auto found = std::ranges::find_if(
        serving, [&](const Serving& one) { return target_of(one.rule) == target; });
    return found == serving.end() ? nullptr : &*found;
  }
  // The first that QEMU has, as far as is known.
  std::optional<std::string> netdev() const {
    for (const std::string& alias : order.user_nets)
      if (auto name = usernet_netdev(alias); name && !no_netdevs.contains(*name)) return name;
    return std::nullopt;
  }
  bool in_order(const std::string& netdev) const {
    return std::ranges::any_of(
        order.user_nets, [&](const std::string& alias) { return usernet_netdev(alias) == netdev; });
  }
  std::optional<TunnelTarget> missing() const {
    for (const TunnelTarget& target : order.targets)
      if (wants(target) && !serves(target) && !refused.contains(target)) return target;
    return std::nullopt;
  }
  void begin_attempt() {
    retry.reset();
    refused.clear();
    problem.reset();
    no_netdevs.clear();
    busy.clear();
    ports_refused = 0;
  }
  TunnelEnds present_ends() const;
};

TunnelEnds UsernetTunnels::Guest::present_ends() const {
  TunnelEnds present;
  if (leaving) return present;
  for (const TunnelTarget& target : order.targets) {
    const Serving* const one = serves(target);
    const auto refusal = refused.find(target);
    const auto end = [&]() -> Result<RelayEndpoint> {
      if (std::string why = why_no_usernet(target); !why.empty())
        return Unexpected(ErrorCode::not_supported, std::move(why));
      if (order.user_nets.empty())
        return Unexpected(ErrorCode::not_supported,
                          "the domain has no interface of type 'user' that QEMU serves itself");
      if (one && in_order(one->rule.netdev)) {
        if (one->here) return RelayEndpoint(one->rule.host);
        return Unexpected(ErrorCode::not_supported,
                          "QEMU runs in another network namespace than this program");
      }
      if (refusal != refused.end()) return Unexpected(refusal->second);
      if (problem) return Unexpected(*problem);
      return Unexpected(ErrorCode::failed, being_laid);
    }();
    present.emplace(target, end);
  }
  return present;
}

UsernetTunnels::UsernetTunnels(Outside outside, Observer& observer)
    : outside_(std::move(outside)), observer_(observer) {}
UsernetTunnels::~UsernetTunnels() = default;

void UsernetTunnels::order(TunnelOrder order) {
  GuestPointer& guest = guests_[order.uuid];
  if (guest && !guest->leaving && guest->order == order) return;
  if (!guest || guest->order.run != order.run) {
    guest = std::make_shared<Guest>(std::move(order));
  } else {
    if (guest->order.user_nets != order.user_nets) ++guest->doubts;
    guest->order = std::move(order);
    guest->leaving = false;
    guest->begin_attempt();
    guest->delay = first_delay;
  }
  step(GuestPointer(guest));
}

void UsernetTunnels::forget(const std::string& uuid) {
  const auto found = guests_.find(uuid);
  if (found == guests_.end()) return;
  found->second->leaving = true;
  found->second->begin_attempt();
  step(GuestPointer(found->second));
}

TunnelEnds UsernetTunnels::ends(const std::string& uuid) const {
  const auto found = guests_.find(uuid);
  return found == guests_.end() ? TunnelEnds{} : found->second->ends;
}

void UsernetTunnels::check(const std::string& uuid) {
  const auto found = guests_.find(uuid);
  if (found == guests_.end() || found->second->leaving) return;
  Guest& guest = *found->second;
  ++guest.doubts;
  guest.begin_attempt();
  guest.delay = first_delay;
  step(GuestPointer(found->second));
}

void UsernetTunnels::step(const GuestPointer& guest) {
  if (!guest->asked && !guest->retry) {
    const bool acts = !guest->problem && (survey(guest) || remove_one(guest) || add_one(guest));
    if (!acts) rest(*guest);
  }
  publish(*guest);
}

void UsernetTunnels::ask(const GuestPointer& guest, std::string command, Read read) {
  guest->asked = true;
  outside_.monitor(guest->order.uuid, std::move(command),
                   [this, weak = std::weak_ptr<Guest>(guest),
                    read = std::move(read)](const Result<std::string>& reply) {
                     const GuestPointer asker = weak.lock();
                     if (!asker) return;  // or this layer is gone
                     asker->asked = false;
                     read(*asker, reply);
                     step(asker);
                   });
}

bool UsernetTunnels::survey(const GuestPointer& guest) {
  const TunnelOrder& order = guest->order;
  if (guest->certain()) return false;
  const bool concerns_us =
      !guest->serving.empty() ||
      (!order.user_nets.empty() &&
       (std::ranges::any_of(order.targets, [&](const auto& one) { return guest->wants(one); }) ||
        left_over(order)));
  if (!concerns_us) return false;
  ask(guest, usernet_survey,
      [this, doubts = guest->doubts](Guest& asker, const Result<std::string>& reply) {
        surveyed(asker, doubts, reply);
      });
  return true;
}

// Whether an earlier daemon left rules in this run.
bool UsernetTunnels::left_over(const TunnelOrder& order) {
  if (!left_over_) left_over_ = outside_.hidden_listeners();
  return left_over_->contains(hidden_address(order.uuid, order.run, false)) ||
         left_over_->contains(hidden_address(order.uuid, order.run, true));
}

void UsernetTunnels::surveyed(Guest& guest, unsigned doubts, const Result<std::string>& reply) {
  if (!reply) return trouble(guest, reply.error());
  const auto rules = usernet_rules(*reply);
  if (!rules) return trouble(guest, rules.error());
  guest.settled = doubts;
  guest.serving.clear();
  for (const UsernetRule& rule : *rules)
    if (is_hidden_address(rule.host.address))
      guest.serving.push_back({rule, !outside_.is_free(rule.protocol, rule.host)});
}

bool UsernetTunnels::remove_one(const GuestPointer& guest) {
  const auto found = std::ranges::find_if(guest->serving, [&](const Serving& one) {
    const TunnelTarget target = target_of(one.rule);
    return !guest->wants(target) || !guest->in_order(one.rule.netdev) ||
           guest->serves(target) != &one;
  });
  if (found == guest->serving.end()) return false;
  ask(guest, hostfwd_remove(found->rule),
      [this, rule = found->rule](Guest& asker, const Result<std::string>& reply) {
        if (!reply) return trouble(asker, reply.error());
        const auto removed = hostfwd_removed(*reply);
        if (!removed) return trouble(asker, removed.error());
        std::erase_if(asker.serving, [&](const Serving& one) { return one.rule == rule; });
      });
  return true;
}

bool UsernetTunnels::add_one(const GuestPointer& guest) {
  if (guest->order.user_nets.empty()) return false;
  while (const auto target = guest->missing()) {
    const auto netdev = guest->netdev();
    if (!netdev) {
      guest->problem = {ErrorCode::failed, "QEMU does not know the domain's user network"};
      return false;
    }
    const auto host = free_end(*guest, *target);
    if (!host) {
      guest->refused[*target] = {ErrorCode::port_busy, "no port of its hidden address is free"};
      continue;
    }
    const UsernetRule rule{
        *netdev, target->protocol, *host,
        Endpoint{target->address.value_or(IpAddress::v4({0, 0, 0, 0})), *target->port}};
    ask(guest, hostfwd_add(*netdev, rule.protocol, rule.host, target->address, *target->port),
        [this, target = *target, rule](Guest& asker, const Result<std::string>& reply) {
          added(asker, target, rule, reply);
        });
    return true;
  }
  return false;
}

std::optional<Endpoint> UsernetTunnels::free_end(const Guest& guest,
                                                 const TunnelTarget& target) const {
  const IpAddress address =
      hidden_address(guest.order.uuid, guest.order.run, target.address.has_value());
  for (unsigned number = lowest_port; number <= 65'535; ++number) {
    const Endpoint end{address, *Port::from(number)};
    const bool ours = std::ranges::any_of(guest.serving, [&](const Serving& one) {
      return one.rule.protocol == target.protocol && one.rule.host == end;
    });
    if (!ours && !guest.busy.contains({target.protocol, end}) &&
        outside_.is_free(target.protocol, end))
      return end;
  }
  return std::nullopt;
}

void UsernetTunnels::added(Guest& guest, const TunnelTarget& target, const UsernetRule& rule,
                           const Result<std::string>& reply) {
  if (!reply) return trouble(guest, reply.error());
  const auto result = hostfwd_added(*reply);
  if (result) {
    guest.ports_refused = 0;
    guest.serving.push_back({rule, !outside_.is_free(rule.protocol, rule.host)});
    return;
  }
  switch (result.error().code) {
    case ErrorCode::port_busy:
      guest.busy.insert({rule.protocol, rule.host});
      if (++guest.ports_refused < max_ports_refused) return;
      break;
    case ErrorCode::no_such_forward:
      // Its rules went with it.
      guest.no_netdevs.insert(rule.netdev);
      ++guest.doubts;
      return;
    default:
      break;
  }
  guest.refused[target] = result.error();
}

// What QEMU has is not known any more. Of a domain that has been forgotten, nobody wants to: in
// most cases it has stopped.
void UsernetTunnels::trouble(Guest& guest, const Error& error) {
  if (guest.leaving) {
    guest.serving.clear();
    guest.settled = guest.doubts;
    return;
  }
  guest.problem = error;
  ++guest.doubts;
}

void UsernetTunnels::rest(Guest& guest) {
  if (guest.leaving) {
    guests_.erase(guest.order.uuid);  // the caller holds it
    return;
  }
  if (!guest.problem && guest.refused.empty()) {
    guest.delay = first_delay;
    return;
  }
  guest.retry =
      after(guest.delay, [this, weak = std::weak_ptr<Guest>(guests_.at(guest.order.uuid))] {
        const GuestPointer again = weak.lock();
        if (!again) return;
        again->begin_attempt();
        step(again);
      });
  guest.delay = std::min(2 * guest.delay, longest_delay);
}

void UsernetTunnels::publish(Guest& guest) {
  TunnelEnds present = guest.present_ends();
  if (same(present, guest.ends)) return;
  guest.ends = std::move(present);
  if (guest.leaving) return;
  if (news_.empty())
    post(nullptr, [this, alive = std::weak_ptr<int>(alive_)] {
      if (alive.expired()) return;
      for (const std::string& uuid : std::exchange(news_, {}))
        if (!alive.expired()) observer_.tunnels_changed(Transport::usernet, uuid);
    });
  news_.insert(guest.order.uuid);
}

}  // namespace vf
