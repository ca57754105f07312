// SPDX-License-Identifier: LGPL-2.1-or-later
//
// The kernel's links, host addresses and neighbours over rtnetlink: a subscription, whole dumps,
// and questions that the kernel answers at once. Needs no privilege but for probe(). Main thread
// only.

#pragma once

#include <memory>
#include <string>
#include <vector>

#include "base/result.h"
#include "plugin/host_network.h"

struct nlmsghdr;

namespace vf {

class Netlink final : public HostNetwork {
 public:
  struct Observer {
    virtual ~Observer() = default;
    virtual void link_changed(const Link& link) = 0;
    virtual void link_removed(std::uint32_t index) = 0;
    virtual void host_address_added(const HostAddress& address) = 0;
    virtual void host_address_removed(const HostAddress& address) = 0;
    virtual void neighbour_changed(const Neighbour& neighbour) = 0;
    virtual void forwarding_changed(const std::string& mac) = 0;
    virtual void routes_changed() = 0;
    // Messages were lost: read everything anew.
    virtual void overrun() = 0;
  };

  // Subscribed when it exists: what changes after this is reported by receive().
  static Result<std::unique_ptr<Netlink>> open();
  ~Netlink() override;

  // Readable when receive() has something to do.
  int fd() const;
  // Reports what came in, up to a bound; the rest stays readable.
  void receive(Observer& observer);
  NetworkState read_all();

  std::optional<std::uint32_t> direct_route(const IpAddress& address) override;
  std::vector<std::uint32_t> ports_of(std::uint32_t bridge, const std::string& mac) override;
  void probe(const Place& place) override;

 private:
  class Socket;
  bool filters_vlans(std::uint32_t bridge);
  Netlink(std::unique_ptr<Socket> events, std::unique_ptr<Socket> questions);

  std::unique_ptr<Socket> events_;
  std::unique_ptr<Socket> questions_;
};

}  // namespace vf
