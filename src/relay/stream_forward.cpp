// SPDX-License-Identifier: LGPL-2.1-or-later

#include "relay/stream_forward.h"

#include <sys/socket.h>

#include <cerrno>
#include <utility>

#include "relay/log.h"

namespace vf {

StreamForward::StreamForward(RelayContext& context, RelayForward definition,
                             std::shared_ptr<ForwardShare> share, OnDrained on_drained)
    : Forward(context, std::move(definition), std::move(share), std::move(on_drained)) {}

StreamForward::~StreamForward() {
  on_drained_ = {};
  stop_listening();
  cut();
}

void StreamForward::replace_listeners(std::vector<Listener::Socket> listeners) {
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

void StreamForward::stop_listening() {
  for (auto& listener : std::exchange(listeners_, {})) {
    listener->stop();
    context_.loop.retire(std::move(listener));
  }
}

void StreamForward::cut() {
  while (!connections_.empty())
    connections_.front()->cut();
}

void StreamForward::cut_outlived() {
  const std::uint64_t life = share_->domain->agent.life();
  for (auto next = connections_.begin(); next != connections_.end();) {
    Connection& connection = **next++;
    if (connection.outlived(life)) connection.cut();
  }
}

void StreamForward::client(Fd socket) {
  ++counters_.accepted;
  const std::string full = take_place();
  if (!full.empty()) {
    const linger now{1, 0};
    setsockopt(socket.get(), SOL_SOCKET, SO_LINGER, &now, sizeof now);
    context_.descriptors.give_back(2);
    ++counters_.failures;
    ++context_.refused;
    if (may_tell(told_full_))
      log_line(LogLevel::warning,
               "connection refused, too many" + log_field("forward", key()) + ' ' + full);
    return;
  }
  Connection::Owner& owner = *this;
  begin(std::make_unique<Connection>(context_, owner, definition_, share_, std::move(socket)));
}

void StreamForward::take(MovingConnection connection) {
  Connection::Owner& owner = *this;
  begin(std::make_unique<Connection>(context_, owner, std::move(connection)));
  cut_outlived();  // it may have happened on the way
}

void StreamForward::begin(std::unique_ptr<Connection> connection) {
  ++counters_.connections;
  connections_.push_front(std::move(connection));
  connections_.front()->place = connections_.begin();
  connections_.front()->start();
}

std::string StreamForward::take_place() {
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

void StreamForward::carried(std::uint64_t to_guest, std::uint64_t to_client) {
  counters_.bytes_in += to_guest;
  counters_.bytes_out += to_client;
}

void StreamForward::changes_lane(Connection& connection) {
  MovingConnection moved = connection.take_apart();
  moved.forward = definition_;
  moved.share = share_;
  context_.other_lane->take(std::move(moved));
  remove(connection);
}

void StreamForward::ended(Connection& connection) {
  share_->connections.fetch_sub(1);
  share_->domain->connections.fetch_sub(1);
  remove(connection);
}

void StreamForward::remove(Connection& connection) {
  --counters_.connections;
  auto owned = std::move(*connection.place);
  connections_.erase(connection.place);
  context_.loop.retire(std::move(owned));
  tell_drained();
}

}  // namespace vf
