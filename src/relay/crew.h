// SPDX-License-Identifier: LGPL-2.1-or-later
//
// The threads of the relay and what they serve. Each runs a GMainContext with one Loop and has its
// part of every forward. They come in pairs: the first of each accepts, from the same listening
// sockets as the others, and keeps what it accepted; its partner gets the connections that turn out
// to be bulk, until they are none any more. So the byte path shares nothing and takes no lock; what
// is asked of all threads (a commit, the counters) is posted to each, and answered when the last
// has answered.
//
// A Crew belongs to the thread that made it, and calls back there, on that thread's default main
// context as of its creation.

#pragma once

#include <cstddef>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <variant>
#include <vector>

#include "base/result.h"
#include "glib/ref.h"
#include "relay/context.h"
#include "relay/forward.h"
#include "relay/listener.h"
#include "relay/served_forwards.h"
#include "wire/relay.h"

namespace vf {

class Crew final {
 public:
  // A pair for each core but one, where the guest or the client runs; between 1 and 8.
  static std::size_t usual_pairs();

  static Result<std::unique_ptr<Crew>> create(std::size_t pairs, DescriptorBudget& descriptors,
                                              RelayEvents& events);
  // Closes every listener, resets every connection and waits for the threads to end.
  ~Crew();
  Crew(const Crew&) = delete;
  Crew& operator=(const Crew&) = delete;

  // Kept until commit(). An Error for a descriptor that is no listening socket that the relay
  // serves, or too much staged; nothing is staged then.
  Result<void> stage(RelayAdd add);
  Result<void> stage(RelayUpdate update);
  Result<void> stage(RelayRemove remove);
  void drop_staged() { staged_.clear(); }
  // Applies what was staged, in order. `applied` is called when every thread has done so.
  void commit(std::function<void()> applied);

  // What is committed, in order of key.
  struct Entry {
    RelayForward forward;
    std::shared_ptr<ForwardShare> share;
    std::vector<Listener::Socket> listeners;

    // The listeners duplicated; an Error where that is not possible.
    Result<RelayHeld> held() const;
  };
  const Entry* after(const std::string& key) const;
  std::size_t size() const { return entries_.size(); }

  // How many removed forwards still have a connection in a thread, or between two.
  std::size_t draining();
  // What the forwards of a domain have together, whether there are any yet. By the UUID that their
  // keys begin with.
  std::shared_ptr<DomainShare> domain(const std::string& uuid);
  // As another relay has seen it, of a forward that is committed.
  void mark_proven(const std::string& key, std::uint8_t endpoint);

  // The agent of this guest has begun a new life: what went through the one before has ended.
  void cut_outlived(const std::string& guest);

  struct Statistics {
    std::vector<RelayCounters> forwards;  // in order of key
    std::vector<RelayLaneStatistics> lanes;
  };
  void statistics(std::function<void(Statistics)> done);

 private:
  class Hand;
  using Change = std::variant<RelayAdd, RelayUpdate, RelayRemove>;

  Crew(DescriptorBudget& descriptors, RelayEvents& events);
  Result<void> push(Change change);
  void forget(const std::string& key);
  std::shared_ptr<ForwardShare> share_of(const std::string& key);
  // What a change is to the entries.
  ServedAdd admit(RelayAdd add);
  bool redefine(const RelayUpdate& update);
  void remove(const RelayRemove& remove);

  Ref<GMainContext> context_;
  DescriptorBudget& descriptors_;
  RelayEvents& events_;
  std::vector<Change> staged_;
  std::map<std::string, Entry> entries_;
  std::map<std::string, std::weak_ptr<DomainShare>> domains_;
  // Of forwards that were removed and drain, by key.
  std::multimap<std::string, std::weak_ptr<ForwardShare>> draining_;
  std::vector<std::unique_ptr<Hand>> hands_;
  // Expires with this object: what a thread posts is dropped then.
  std::shared_ptr<int> alive_ = std::make_shared<int>(0);
};

}  // namespace vf
