// SPDX-License-Identifier: LGPL-2.1-or-later
//
// Short-cuts in the kernel. The relay listens on the host port of every forward and goes on doing
// so; an offload only takes new connections past it, straight to the guest. It may vanish at any
// time: what it took goes on where that is possible, and new connections arrive at the relay.
//
// An offload never decides what may be taken: the daemon gives it the entries whose guest address
// is proven, whose listener is held and whose forward is served, and takes them away before
// anything else happens to the domain. Nothing of it outlives the daemon's process.
//
// Main thread only. Errors are in words for people; nothing is logged here.

#pragma once

#include <compare>
#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <span>
#include <string>

#include "base/address.h"
#include "base/fd.h"
#include "base/result.h"
#include "core/forward_view.h"
#include "core/vocabulary.h"

namespace vf {

// One address of one forward: who connects there is taken to the guest.
struct OffloadEntry {
  std::string key;  // of the forward, "UUID/ID"; one has several entries
  Protocol protocol = Protocol::tcp;
  Endpoint host;       // a loopback address
  Endpoint guest;      // proven
  std::string bridge;  // link of the host that the guest's address is routed out of
  friend auto operator<=>(const OffloadEntry&, const OffloadEntry&) = default;
};

class KernelOffload {
 public:
  // Something else than this process took away or changed what was applied; nothing is applied any
  // more, or it has been put back already.
  struct Loss {
    bool mended = false;
    std::string reason;
  };
  // Called from the main loop, never inside another call; they may not destroy the offload.
  struct Events {
    std::function<void(const Loss&)> lost = {};
    // A connection past the relay did not get through to the guest; with the errno value, or 0
    // where none is known (as when the client did not wait for it). Once a second for an address at
    // most. What sees packets only, or lacks the privileges, never tells.
    std::function<void(const std::string& key, int error_number)> failing = {};
  };

  virtual ~KernelOffload() = default;
  virtual Offload kind() const = 0;

  // Gets ready, before the first apply(); the owner calls it once. An error says why it cannot work
  // on this host with these privileges: nothing has been changed then.
  virtual Result<void> start(Events events) = 0;

  // By what is left, which has to be held by somebody else by then, a process that comes after this
  // one finds the connections that are established still: it is given to inherit() there, before
  // start(). Null: nothing is to be held.
  virtual const Fd* left() { return nullptr; }
  // What does not fit is let go of.
  virtual void inherit(Fd) {}

  // Whether an entry of this protocol and these addresses can be taken; the error says why not.
  virtual Result<void> admits(const OffloadEntry& entry) const = 0;

  // In one step: what is `gone` takes no new connection when this returns, what is `added` does.
  // Established connections go on. Entries that are there already may be added again and those that
  // are not may go. After an error nothing has changed.
  virtual Result<void> apply(std::span<const OffloadEntry> gone,
                             std::span<const OffloadEntry> added) = 0;

  // Ends the established connections that entries of these forwards took, and only those, also
  // where the entries are gone by now.
  virtual void cut(std::span<const std::string> keys) = 0;

  // What is established now through each forward's entries, exactly. Bytes where the kernel counts
  // them, else absent. A forward without a connection may be absent.
  struct Count {
    std::uint64_t connections = 0;
    std::optional<std::uint64_t> bytes_in = {};   // to the guest
    std::optional<std::uint64_t> bytes_out = {};  // from it
  };
  virtual Result<std::map<std::string, Count>> counts() = 0;
};

}  // namespace vf
