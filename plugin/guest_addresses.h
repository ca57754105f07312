// SPDX-License-Identifier: LGPL-2.1-or-later
//
// Keeps the trusted addresses of running domains up to date: feeds AddressTrust from the kernel
// and reports what changes. Idle while nothing happens on the host's networks. Main thread only.

#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "glib/source.h"
#include "plugin/address_trust.h"
#include "plugin/domain_snapshot.h"
#include "plugin/netlink.h"

namespace vf {

class GuestAddresses final : Netlink::Observer {
 public:
  using Report =
      std::function<void(const std::string& uuid, const std::vector<IpAddress>& addresses)>;

  explicit GuestAddresses(Report report) : report_(std::move(report)) {}

  // Where the kernel cannot be asked no domain gets an address.
  void start();

  void domain_is(const DomainSnapshot& domain);
  void domain_gone(const std::string& uuid);
  void leases_are(const std::vector<Hearsay>& leases);
  void agent_says(const std::string& uuid, const std::vector<Hearsay>& hearsay);
  // The guest rebooted, was resumed, ...: addresses that failed may answer again.
  void guest_may_answer(const std::string& uuid);
  // A slow sweep for addresses that failed.
  void sweep();
  // Reports what the calls above changed; what the kernel says is reported by itself.
  void flush();

 private:
  // Netlink's answers, none when there is no netlink.
  class Questions final : public HostNetwork {
   public:
    std::optional<std::uint32_t> direct_route(const IpAddress& address) override {
      return netlink ? netlink->direct_route(address) : std::nullopt;
    }
    std::vector<std::uint32_t> ports_of(std::uint32_t bridge, const std::string& mac) override {
      return netlink ? netlink->ports_of(bridge, mac) : std::vector<std::uint32_t>();
    }
    void probe(const Place& place) override {
      if (netlink) netlink->probe(place);
    }
    std::unique_ptr<Netlink> netlink;
  };

  void receive();
  void ask_later();

  void link_changed(const Link& link) override { trust_.link_changed(link); }
  void link_removed(std::uint32_t index) override { trust_.link_removed(index); }
  void host_address_added(const HostAddress& address) override {
    trust_.host_address_added(address);
  }
  void host_address_removed(const HostAddress& address) override {
    trust_.host_address_removed(address);
  }
  void neighbour_changed(const Neighbour& neighbour) override {
    trust_.neighbour_changed(neighbour);
  }
  void forwarding_changed(const std::string& mac) override { trust_.forwarding_changed(mac); }
  void routes_changed() override;
  void overrun() override;

  const Report report_;
  Questions questions_;
  AddressTrust trust_{questions_};
  Source readable_;
  Source retry_;
  Source routes_settle_;
};

}  // namespace vf
