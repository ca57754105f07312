// SPDX-License-Identifier: LGPL-2.1-or-later

#include "relay/served_forwards.h"

#include <algorithm>
#include <utility>

#include "relay/stream_forward.h"

namespace vf {

ServedForwards::~ServedForwards() {
  clear();
}

void ServedForwards::apply(ServedAdd add) {
  const auto before = forwards_.find(add.forward.key);
  if (before != forwards_.end() && before->second->definition().protocol != add.forward.protocol)
    apply(RelayRemove{add.forward.key, RelayRemoval::drain});
  std::unique_ptr<Forward>& forward = forwards_[add.forward.key];
  if (forward) {
    forward->redefine(std::move(add.forward));
    forward->replace_listeners(std::move(add.listeners));
  } else {
    forward = Forward::create(context_, std::move(add.forward), std::move(add.share),
                              std::move(add.listeners), [this](Forward& done) { drained(done); });
  }
}

void ServedForwards::apply(RelayUpdate update) {
  const auto found = forwards_.find(update.forward.key);
  if (found != forwards_.end()) found->second->redefine(std::move(update.forward));
}

void ServedForwards::apply(RelayRemove remove) {
  if (remove.removal == RelayRemoval::cut) cut_draining(remove.key);
  const auto found = forwards_.find(remove.key);
  if (found == forwards_.end()) return;
  std::unique_ptr<Forward> forward = std::move(found->second);
  forwards_.erase(found);
  forward->stop_listening();
  if (remove.removal == RelayRemoval::cut) forward->cut();
  if (forward->drained())
    context_.loop.retire(std::move(forward));
  else
    draining_.push_back(std::move(forward));
}

// The forward may have been removed while the connection was on its way.
void ServedForwards::take(MovingConnection connection) {
  if (!connection.share->cut) return part_of(connection).take(std::move(connection));
  connection.reset();
  connection.share->connections.fetch_sub(1);
  connection.share->domain->connections.fetch_sub(1);
  context_.descriptors.give_back(2);
}

StreamForward& ServedForwards::part_of(const MovingConnection& connection) {
  const auto is_part = [&](const Forward& forward) {
    return forward.share() == connection.share.get() &&
           forward.definition().protocol == RelayProtocol::stream;
  };
  const auto found = forwards_.find(connection.forward->key);
  if (found != forwards_.end() && is_part(*found->second))
    return static_cast<StreamForward&>(*found->second);
  for (const auto& forward : draining_)
    if (is_part(*forward)) return static_cast<StreamForward&>(*forward);
  auto made = std::make_unique<StreamForward>(context_, *connection.forward, connection.share,
                                              [this](Forward& done) { drained(done); });
  StreamForward& part = *made;
  draining_.push_back(std::move(made));
  return part;
}

// Each leaves the list as it is cut.
void ServedForwards::cut_draining(const std::string& key) {
  std::vector<Forward*> found;
  for (const auto& forward : draining_)
    if (forward->key() == key) found.push_back(forward.get());
  for (Forward* forward : found)
    forward->cut();
}

void ServedForwards::cut_outlived(const std::string& prefix) {
  std::vector<Forward*> found;
  for (auto next = forwards_.lower_bound(prefix);
       next != forwards_.end() && next->first.starts_with(prefix); ++next)
    found.push_back(next->second.get());
  for (const auto& forward : draining_)
    if (forward->key().starts_with(prefix)) found.push_back(forward.get());
  for (Forward* forward : found)
    forward->cut_outlived();
}

// Also told of forwards that are in neither list any more, while they are being removed.
void ServedForwards::drained(Forward& forward) {
  const auto found = std::find_if(draining_.begin(), draining_.end(),
                                  [&](const auto& one) { return one.get() == &forward; });
  if (found == draining_.end()) return;
  context_.loop.retire(std::move(*found));
  draining_.erase(found);
}

std::vector<RelayCounters> ServedForwards::counters() const {
  std::vector<RelayCounters> all;
  for (const auto& [key, forward] : forwards_)
    all.push_back(forward->counters());
  return all;
}

RelayLaneStatistics ServedForwards::lane_statistics() const {
  const RoundTimes& times = context_.loop.round_times();
  return {context_.carries_bulk, times.microseconds, context_.refused, context_.lost, times.rounds};
}

void ServedForwards::clear() {
  for (auto& [key, forward] : std::exchange(forwards_, {})) {
    forward->stop_listening();
    forward->cut();
    context_.loop.retire(std::move(forward));
  }
  for (auto& forward : std::exchange(draining_, {}))
    forward->cut();
}

}  // namespace vf
