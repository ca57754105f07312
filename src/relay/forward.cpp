// SPDX-License-Identifier: LGPL-2.1-or-later

#include "relay/forward.h"

#include <sys/socket.h>

#include <cerrno>
#include <utility>

#include "relay/log.h"

namespace vf {

Forward::Forward(RelayContext& context, RelayForward definition,
                 std::shared_ptr<ForwardShare> share, std::vector<Listener::Socket> listeners,
                 std::function<void(Forward&)> on_drained)
    : Timer(context.loop),
      context_(context),
      share_(std::move(share)),
      on_drained_(std::move(on_drained)) {
  redefine(std::move(definition));
  replace_listeners(std::move(listeners));
}

Forward::~Forward() {
  on_drained_ = {};
  stop_listening();
  cut();
}

void Forward::redefine(RelayForward definition) {
  definition_ = std::make_shared<const RelayForward>(std::move(definition));
}

void Forward::replace_listeners(std::vector<Listener::Socket> listeners) {
  stop_listening();
  for (Listener::Socket& socket : listeners) {
    auto listener = std::make_unique<Listener>(
        context_, std::move(socket), [this](Fd accepted) { client(std::move(accepted)); });
    const auto started = listener->start();
    if (!started)
      log_line(LogLevel::error, "listener failed" + log_field("forward", key()) +
                                    log_field("error", started.error().message));
    listeners_.push_back(std::move(listener));
  }
}

void Forward::stop_listening() {
  for (auto& listener : std::exchange(listeners_, {})) {
    listener->stop();
    context_.loop.retire(std::move(listener));
  }
}

void Forward::cut() {
  while (!connections_.empty())
    connections_.front()->cut();
}

RelayCounters Forward::counters() const {
  RelayCounters counters = counters_;
  counters.key = key();
  counters.connections = connections_.size();
  return counters;
}

void Forward::client(Fd socket) {
  ++counters_.accepted;
  const std::string full = take_place();
  if (!full.empty()) {
    const linger now{1, 0};
    setsockopt(socket.get(), SOL_SOCKET, SO_LINGER, &now, sizeof now);
    context_.descriptors.give_back(2);
    ++counters_.failures;
    if (may_tell(told_full_))
      log_line(LogLevel::warning,
               "connection refused, too many" + log_field("forward", key()) + ' ' + full);
    return;
  }
  Connection::Owner& owner = *this;
  begin(std::make_unique<Connection>(context_, owner, definition_, std::move(socket)));
}

void Forward::take(MovingConnection connection) {
  Connection::Owner& owner = *this;
  begin(std::make_unique<Connection>(context_, owner, std::move(connection)));
}

void Forward::begin(std::unique_ptr<Connection> connection) {
  connections_.push_front(std::move(connection));
  connections_.front()->place = connections_.begin();
  connections_.front()->start();
}

std::string Forward::take_place() {
  const auto take = [](std::atomic<std::uint32_t>& count, std::uint32_t bound) {
    if (count.fetch_add(1) < bound || bound == 0) return true;
    count.fetch_sub(1);
    return false;
  };
  const auto bound = definition_->max_connections;
  const auto domain_bound = definition_->max_domain_connections;
  if (!take(share_->connections, bound)) return "max-connections=" + std::to_string(bound);
  if (take(share_->domain->connections, domain_bound)) return {};
  share_->connections.fetch_sub(1);
  return "max-domain-connections=" + std::to_string(domain_bound);
}

void Forward::reached_guest() {
  untold_failure_ = 0;
  if (share_->proven || share_->proven.exchange(true)) return;
  context_.events.proven(key());
}

// An event a second, not one for each connection to a guest that flickers; the last word is told.
void Forward::missed_guest(int error_number) {
  ++counters_.failures;
  if (may_tell(told_failing_)) return tell_failing(error_number);
  untold_failure_ = error_number;
  arm(std::chrono::microseconds(told_failing_ + G_USEC_PER_SEC - context_.loop.now()));
}

void Forward::expired() {
  if (untold_failure_ == 0) return;
  told_failing_ = context_.loop.now();
  tell_failing(untold_failure_);
}

void Forward::tell_failing(int error_number) {
  untold_failure_ = 0;
  share_->proven = false;
  context_.events.failing(key(), error_number);
}

bool Forward::may_tell(gint64& told) const {
  const gint64 now = context_.loop.now();
  if (told != 0 && now - told < G_USEC_PER_SEC) return false;
  told = now;
  return true;
}

void Forward::carried(std::uint64_t to_guest, std::uint64_t to_client) {
  counters_.bytes_in += to_guest;
  counters_.bytes_out += to_client;
}

void Forward::changes_lane(Connection& connection) {
  MovingConnection moved = connection.take_apart();
  moved.forward = definition_;
  moved.share = share_;
  context_.other_lane->take(std::move(moved));
  remove(connection);
}

void Forward::ended(Connection& connection) {
  share_->connections.fetch_sub(1);
  share_->domain->connections.fetch_sub(1);
  remove(connection);
}

void Forward::remove(Connection& connection) {
  auto owned = std::move(*connection.place);
  connections_.erase(connection.place);
  context_.loop.retire(std::move(owned));
  if (drained() && on_drained_) on_drained_(*this);
}

}  // namespace vf
