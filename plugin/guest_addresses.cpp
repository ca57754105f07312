// SPDX-License-Identifier: LGPL-2.1-or-later

#include "plugin/guest_addresses.h"

#include <chrono>
#include <utility>

namespace vf {
namespace {

// Routing daemons change many routes in a row.
constexpr std::chrono::milliseconds route_settle_time{50};

}  // namespace

void GuestAddresses::start() {
  Result<std::unique_ptr<Netlink>> netlink = Netlink::open();
  if (!netlink) return;
  questions_.netlink = *std::move(netlink);
  readable_ = watch_fd(questions_.netlink->fd(), G_IO_IN, [this](GIOCondition) { receive(); });
  trust_.reset(questions_.netlink->read_all());
}

void GuestAddresses::receive() {
  questions_.netlink->receive(*this);
  flush();
}

void GuestAddresses::overrun() {
  trust_.reset(questions_.netlink->read_all());
}

void GuestAddresses::routes_changed() {
  if (routes_settle_) return;
  routes_settle_ = after(route_settle_time, [this] {
    routes_settle_.reset();
    trust_.routes_changed();
    flush();
  });
}

// A guest that does not answer is asked again a few times, each time twice as late, and after
// that only when something is heard of it.
void GuestAddresses::ask_later() {
  const auto attempt = trust_.next_attempt();
  if (!attempt || retry_) return;
  retry_ = after(std::chrono::seconds(1) * (1 << *attempt), [this, attempt] {
    retry_.reset();
    trust_.ask_wanted(*attempt);
    ask_later();
  });
}

void GuestAddresses::sweep() {
  trust_.sweep();
}

void GuestAddresses::domain_is(const DomainSnapshot& domain) {
  if (domain.active && domain.id)
    trust_.domain_runs(domain.uuid, *domain.id, domain.interfaces);
  else
    trust_.domain_ended(domain.uuid);
}

void GuestAddresses::domain_gone(const std::string& uuid) {
  trust_.domain_ended(uuid);
}

void GuestAddresses::leases_are(const std::vector<Hearsay>& leases) {
  trust_.leases_are(leases);
}

void GuestAddresses::agent_says(const std::string& uuid, const std::vector<Hearsay>& hearsay) {
  trust_.agent_says(uuid, hearsay);
}

void GuestAddresses::guest_may_answer(const std::string& uuid) {
  trust_.ask_again(uuid);
}

void GuestAddresses::flush() {
  for (const std::string& uuid : trust_.decide())
    report_(uuid, trust_.addresses(uuid));
}

}  // namespace vf
