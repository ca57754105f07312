// SPDX-License-Identifier: LGPL-2.1-or-later
//
// Ways into guests on QEMU's own user network (slirp): rules of hostfwd_add from a hidden address
// and port of this host, where QEMU listens, to a port of the guest. Main thread only.
//
// What the network cannot do shows in the connections (measured with QEMU 7.2): QEMU accepts before
// anybody in the guest does. A port that the guest refuses is a connection that is accepted and
// then ended, in order, without a byte: a reset does not come through. One to a guest that still
// boots waits for it; one to an address that the guest does not have is reset after 76 s. A forward
// without an address goes to what QEMU's DHCP server gives first: a guest with another one needs it
// named. QEMU listens with a backlog of one: of 50 clients at once 12 wait a second for the
// kernel's next SYN.
//
// Asking the monitor taints the domain ("custom-monitor"); a domain of which nothing is wanted, and
// that holds no rules of an earlier daemon, is not asked.

#pragma once

#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <string_view>

#include "transport/tunnel.h"
#include "transport/usernet_monitor.h"

namespace vf {

// Whose addresses stand only for rules of this layer: 127.64.0.0/10 holds none that is in use
// elsewhere (127.0.0.1, 127.0.1.1, 127.0.0.53, 127.255.255.255).
bool is_hidden_address(const IpAddress& address);
// Of one run of a domain: the even one for rules to the guest's own address, the odd one for those
// to an address that the order names. So a survey tells what each rule was made for.
IpAddress hidden_address(std::string_view uuid, int run, bool names_address);

// Why a target cannot be laid in any user network, in words; empty: it can.
std::string why_no_usernet(const TunnelTarget& target);

// For an interface with <backend type='passt'/>.
inline constexpr std::string_view why_no_usernet_with_passt =
    "its user network is served by passt, whose ports are fixed when it starts (<portForward> in "
    "the domain's XML); QEMU's monitor can only add to its own, without <backend type='passt'/>";

class UsernetTunnels final : public TunnelLayer {
 public:
  struct Outside {
    // One command of QEMU's human monitor; `done` gets all that it prints, later than now, however
    // it went. Only where QEMU hangs it does not.
    std::function<void(const std::string& uuid, std::string command,
                       std::function<void(Result<std::string>)> done)>
        monitor;
    // Nobody is bound to it, and somebody could be.
    std::function<bool(Protocol, const Endpoint&)> is_free = is_free_here;
    // Hidden addresses that somebody listens on.
    std::function<std::set<IpAddress>()> hidden_listeners = hidden_listeners_here;
  };

  // `observer` outlives it.
  UsernetTunnels(Outside outside, Observer& observer);
  ~UsernetTunnels() override;
  UsernetTunnels(const UsernetTunnels&) = delete;
  UsernetTunnels& operator=(const UsernetTunnels&) = delete;

  Transport kind() const override { return Transport::usernet; }
  void order(TunnelOrder order) override;
  void forget(const std::string& uuid) override;
  TunnelEnds ends(const std::string& uuid) const override;

  // For events within a run that the order does not show: an interface unplugged and another
  // plugged in under the same alias, a snapshot reverted to, libvirt back after a time without it.
  void check(const std::string& uuid) override;

  static bool is_free_here(Protocol protocol, const Endpoint& endpoint);
  static std::set<IpAddress> hidden_listeners_here();

 private:
  struct Guest;
  using GuestPointer = std::shared_ptr<Guest>;
  using Read = std::function<void(Guest& asker, const Result<std::string>& reply)>;
  void step(const GuestPointer& guest);
  void ask(const GuestPointer& guest, std::string command, Read read);
  // Each asks QEMU for one thing, or returns false: there is nothing of the kind to do.
  bool survey(const GuestPointer& guest);
  bool remove_one(const GuestPointer& guest);
  bool add_one(const GuestPointer& guest);
  bool left_over(const TunnelOrder& order);
  std::optional<Endpoint> free_end(const Guest& guest, const TunnelTarget& target) const;
  void surveyed(Guest& guest, unsigned doubts, const Result<std::string>& reply);
  void added(Guest& guest, const TunnelTarget& target, const UsernetRule& rule,
             const Result<std::string>& reply);
  void trouble(Guest& guest, const Error& error);
  void rest(Guest& guest);
  void publish(Guest& guest);

  const Outside outside_;
  Observer& observer_;
  std::map<std::string, GuestPointer> guests_;
  std::optional<std::set<IpAddress>> left_over_;  // where an earlier daemon's rules listen
  std::set<std::string> news_;                    // of these the observer will be told
  // Expires with this object.
  std::shared_ptr<int> alive_ = std::make_shared<int>(0);
};

}  // namespace vf
