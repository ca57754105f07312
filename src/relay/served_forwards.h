// SPDX-License-Identifier: LGPL-2.1-or-later

#pragma once

#include <list>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "relay/context.h"
#include "relay/forward.h"
#include "wire/relay.h"

namespace vf {

class StreamForward;

// A forward for one thread to serve.
struct ServedAdd {
  RelayForward forward;
  std::shared_ptr<ForwardShare> share;
  std::vector<Listener::Socket> listeners;
};

// The forwards that one thread of the relay serves, by key.
class ServedForwards {
 public:
  explicit ServedForwards(RelayContext& context) : context_(context) {}
  ~ServedForwards();

  // A key that is there already gets the new listeners and target; its connections go on.
  void apply(ServedAdd add);
  void apply(RelayUpdate update);
  void apply(RelayRemove remove);

  // A connection from the other lane.
  void take(MovingConnection connection);

  // Of the forwards whose keys begin with `prefix`; see Forward.
  void cut_outlived(const std::string& prefix);

  // In order of key. A forward that drains is not among them.
  std::vector<RelayCounters> counters() const;
  // Of this thread.
  RelayLaneStatistics lane_statistics() const;
  std::size_t size() const { return forwards_.size(); }
  std::size_t draining() const { return draining_.size(); }

  // Resets every connection and closes every listener.
  void clear();

 private:
  StreamForward& part_of(const MovingConnection& connection);
  void cut_draining(const std::string& key);
  void drained(Forward& forward);

  RelayContext& context_;
  std::map<std::string, std::unique_ptr<Forward>> forwards_;
  std::list<std::unique_ptr<Forward>> draining_;
};

}  // namespace vf
