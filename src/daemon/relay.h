// SPDX-License-Identifier: LGPL-2.1-or-later
//
// What the reconciler needs of a relay. RelayClient is the real one.

#pragma once

#include <functional>
#include <map>
#include <optional>
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
  std::optional<std::size_t> proven = {};  // by which endpoint a connection got through
};

inline RelayProtocol relay_protocol(Protocol protocol) {
  return protocol == Protocol::udp ? RelayProtocol::datagram : RelayProtocol::stream;
}

class Relay {
 public:
  struct Observer {
    virtual ~Observer() = default;
    // What an earlier daemon gave to keep(), by name; right ahead of relay_ready().
    virtual void relay_kept(std::map<std::string, Fd> kept) = 0;
    // The relay is there and holds this. Comes at the beginning and after each loss; the observer
    // answers with what it wants added and removed.
    virtual void relay_ready(std::vector<HeldForward> held) = 0;
    // The relay ended or lost its channel; it is started again and relay_ready() follows.
    virtual void relay_lost(const std::string& reason) = 0;
    // A connection of this forward got through to the guest: the first, or the first after one that
    // did not, or the first by another endpoint (place in the target's list).
    virtual void forward_proven(const std::string& key, std::size_t endpoint) = 0;
    // A connection could not be made: errno of the last endpoint tried. Rate-limited by the relay.
    virtual void forward_failing(const std::string& key, int error_number) = 0;

    // Of guests that were opened, as wire/relay.h has it. Nothing comes of one that was closed, and
    // after relay_lost() all are down without a word.
    virtual void guest_up(const RelayGuestUp& guest) = 0;
    virtual void guest_down(const RelayGuestDown& guest) = 0;
    virtual void guest_listener(const RelayGuestListener& told) = 0;
    virtual void guest_gone(const RelayGuestGone& told) = 0;
    virtual void guest_synced(const RelayGuestSynced& guest) = 0;
    virtual void agent_answer(const RelayAgentAnswer& answer) = 0;
  };

  virtual ~Relay() = default;
  virtual bool ready() const = 0;

  // Staged until commit(). Dropped while the relay is not ready: relay_ready() asks again. What
  // cannot be staged (no descriptor left, a key too long) is told by forward_failing().
  // Descriptors are duplicated: the caller keeps its own.
  virtual void add(const RelayForward& forward, const std::vector<int>& listeners) = 0;
  // Changes target or limits of a forward, or nothing; its connections go on. What has been proven
  // is told anew.
  virtual void update(const RelayForward& forward) = 0;
  enum class Removal { cut, drain };
  virtual void remove(const std::string& key, Removal removal) = 0;
  // Applies what was staged, all or nothing, in order. Nothing staged: nothing is sent. `done`, if
  // given, is called when the relay has applied this commit and all before it: at once when there
  // is none. Where the relay is lost before, it is called after the next commit that follows
  // relay_ready().
  virtual void commit(std::function<void()> done) = 0;
  void commit() { commit({}); }

  // Counters of all forwards, by key, and what the relay tells of itself, if it does.
  struct Statistics {
    std::vector<std::pair<std::string, ForwardCounters>> counters = {};
    std::vector<RelayLaneStatistics> lanes = {};
  };
  virtual void statistics(std::function<void(Result<Statistics>)> done) = 0;

  // At once; dropped while the relay is not ready. Holds a duplicate for the daemons to come.
  virtual void keep(const std::string& name, int fd) = 0;

  // At once, behind what was staged and needs no commit. Dropped while the relay is not ready.
  // `control` is a stream to the agent on which nothing was said yet.
  virtual void open_guest(const std::string& guest, const RelayEndpoint& agent, bool wants_udp,
                          Fd control) = 0;
  virtual void guest_wants(const std::string& guest, bool udp) = 0;
  virtual void close_guest(const std::string& guest) = 0;
  // Answered by agent_answer(). False, and no answer, where it cannot be sent.
  virtual bool agent_reply(RelayAgentReply reply) = 0;
};

}  // namespace vf
