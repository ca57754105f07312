// SPDX-License-Identifier: LGPL-2.1-or-later
//
// What the reconciler needs of a relay. RelayClient is the real one.

#pragma once

#include <functional>
#include <string>
#include <utility>
#include <vector>

#include "base/fd.h"
#include "base/result.h"
#include "core/forward_view.h"
#include "wire/relay.h"

namespace vf {

// A forward that a relay was found holding: `listeners` are duplicates, bound and listening.
struct HeldForward {
  RelayForward forward;
  std::vector<Fd> listeners;
};

inline RelayProtocol relay_protocol(Protocol protocol) {
  return protocol == Protocol::udp ? RelayProtocol::datagram : RelayProtocol::stream;
}

class Relay {
 public:
  struct Observer {
    virtual ~Observer() = default;
    // The relay is there and holds this. Comes at the beginning and after each loss; the observer
    // answers with what it wants added and removed.
    virtual void relay_ready(std::vector<HeldForward> held) = 0;
    // The relay ended or lost its channel; it is started again and relay_ready() follows.
    virtual void relay_lost(const std::string& reason) = 0;
    // A connection of this forward got through to the guest: the first, or the first after one that
    // did not.
    virtual void forward_proven(const std::string& key) = 0;
    // A connection could not be made: errno of the last endpoint tried. Rate-limited by the relay.
    virtual void forward_failing(const std::string& key, int error_number) = 0;
  };

  virtual ~Relay() = default;
  virtual bool ready() const = 0;

  // Staged until commit(). Dropped while the relay is not ready: relay_ready() asks again. What
  // cannot be staged (no descriptor left, a key too long) is told by forward_failing().
  // Descriptors are duplicated: the caller keeps its own.
  virtual void add(const RelayForward& forward, const std::vector<int>& listeners) = 0;
  // Changes target or limits of a forward; its connections go on.
  virtual void update(const RelayForward& forward) = 0;
  enum class Removal { cut, drain };
  virtual void remove(const std::string& key, Removal removal) = 0;
  // Applies what was staged, all or nothing, in order. Nothing staged: nothing is sent. `done`, if
  // given, is called when the relay has applied this commit and all before it: at once when there
  // is none. Where the relay is lost before, it is called after the next commit that follows
  // relay_ready().
  virtual void commit(std::function<void()> done) = 0;
  void commit() { commit({}); }

  // Counters of all forwards, by key.
  using Counters = std::vector<std::pair<std::string, ForwardCounters>>;
  virtual void counters(std::function<void(Result<Counters>)> done) = 0;
};

}  // namespace vf
