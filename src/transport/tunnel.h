// SPDX-License-Identifier: LGPL-2.1-or-later
//
// Ways into a guest that somebody has to lay before the relay can connect: forwards of an ssh
// client, ports of QEMU's user network. A layer keeps what is ordered of it for each domain, and
// says where each tunnel begins. Main thread only.

#pragma once

#include <compare>
#include <cstdint>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "base/address.h"
#include "base/relay_endpoint.h"
#include "base/result.h"
#include "core/vocabulary.h"

namespace vf {

// Where a tunnel ends: a port or a unix stream socket in the guest.
struct TunnelTarget {
  Protocol protocol = Protocol::tcp;
  std::optional<IpAddress> address;  // absent: the guest's localhost (ssh), its own (usernet)
  std::optional<Port> port;          // absent: `path` it is
  std::string path;
  friend auto operator<=>(const TunnelTarget&, const TunnelTarget&) = default;
};

// Account of <ssh>, with the key's file as the host policy has it.
struct SshAccount {
  std::string user;
  Port port = *Port::from(22);
  std::string key_name;
  std::string key_path;
  friend bool operator==(const SshAccount&, const SshAccount&) = default;
};

// All that is wanted for one running domain, and what is known of it that layers need.
struct TunnelOrder {
  std::string uuid;
  int run = 0;                         // the domain's id
  std::vector<IpAddress> addresses;    // proven, best first
  std::optional<std::uint32_t> cid;    // of its vsock device
  std::optional<SshAccount> ssh;       // absent: none is given
  std::vector<std::string> user_nets;  // aliases of its interfaces of type user ("net0")
  std::set<TunnelTarget> targets;      // empty: nothing is wanted (any more)
  friend bool operator==(const TunnelOrder&, const TunnelOrder&) = default;
};

// Where tunnels begin, by target; an error says in words why one is not there (yet).
using TunnelEnds = std::map<TunnelTarget, Result<RelayEndpoint>>;

class TunnelLayer {
 public:
  struct Observer {
    virtual ~Observer() = default;
    // ends() or refusals() of this domain say something else than before. Never inside a call of
    // the layer.
    virtual void tunnels_changed(Transport kind, const std::string& uuid) = 0;
  };

  virtual ~TunnelLayer() = default;
  virtual Transport kind() const = 0;
  // Replaces the last order for this domain; the same one again changes nothing. What is ordered no
  // longer is taken away, and what stays carries on.
  virtual void order(TunnelOrder order) = 0;
  // The domain has stopped, or nobody knows it: takes everything of it away.
  virtual void forget(const std::string& uuid) = 0;
  // Those of the last order. The reason of one that cannot be laid stays until it can.
  virtual TunnelEnds ends(const std::string& uuid) const = 0;
  // Of tunnels that are there: why the last connection did not reach the target, in the other
  // side's words ("Connection refused"). The relay cannot tell: a tunnel lets it in first.
  virtual std::map<TunnelTarget, std::string> refusals(const std::string& /*uuid*/) const {
    return {};
  }
  // All domains that run have been ordered, or are not to be: what an earlier daemon ordered
  // beyond that can go.
  virtual void settled() {}
  // "Tunnels may have got lost": looks what is there, and lays what is missing. For layers that
  // would not notice by themselves.
  virtual void check(const std::string& /*uuid*/) {}
};

}  // namespace vf
