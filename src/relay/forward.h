// SPDX-License-Identifier: LGPL-2.1-or-later

#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <list>
#include <memory>
#include <string>
#include <vector>

#include "base/fd.h"
#include "relay/connection.h"
#include "relay/context.h"
#include "relay/listener.h"
#include "relay/loop.h"
#include "wire/relay.h"

namespace vf {

// What all threads of the relay know together of one domain's forwards.
struct DomainShare {
  std::atomic<std::uint32_t> connections{0};
};

// What all threads of the relay know together of one forward.
struct ForwardShare {
  std::atomic<std::uint32_t> connections{0};
  std::atomic<bool> proven{false};
  std::shared_ptr<DomainShare> domain = std::make_shared<DomainShare>();
  std::atomic<bool> cut{false};  // removed: connections on their way between threads end as well
};

// One thread's part of a forward: its listeners and the connections that it accepted from them.
class Forward final : private Connection::Owner, private Timer {
 public:
  // `on_drained` comes when it neither listens nor has a connection, and may retire it.
  Forward(RelayContext& context, RelayForward definition, std::shared_ptr<ForwardShare> share,
          std::vector<Listener::Socket> listeners, std::function<void(Forward&)> on_drained);
  ~Forward() override;

  // A connection from the other lane, as one of this forward.
  void take(MovingConnection connection);
  // Connections that exist go on where they go.
  void redefine(RelayForward definition);
  void replace_listeners(std::vector<Listener::Socket> listeners);
  void stop_listening();
  // Resets all connections.
  void cut();

  const std::string& key() const { return definition_->key; }
  const RelayForward& definition() const { return *definition_; }
  const ForwardShare* share() const { return share_.get(); }
  bool drained() const { return listeners_.empty() && connections_.empty(); }
  RelayCounters counters() const;

 private:
  void client(Fd socket);
  // Takes a place for a connection; the bound that leaves none, if so.
  std::string take_place();
  void reached_guest() override;
  void missed_guest(int error_number) override;
  void carried(std::uint64_t to_guest, std::uint64_t to_client) override;
  void changes_lane(Connection& connection) override;
  void ended(Connection& connection) override;
  void begin(std::unique_ptr<Connection> connection);
  void remove(Connection& connection);
  void expired() override;  // as a Timer: the second after a told failure is over
  void tell_failing(int error_number);
  // Once a second at most.
  bool may_tell(gint64& told) const;

  RelayContext& context_;
  std::shared_ptr<const RelayForward> definition_;
  std::shared_ptr<ForwardShare> share_;
  std::function<void(Forward&)> on_drained_;
  std::vector<std::unique_ptr<Listener>> listeners_;
  std::list<std::unique_ptr<Connection>> connections_;
  RelayCounters counters_;
  gint64 told_failing_ = 0;
  int untold_failure_ = 0;  // errno of the last connection, where it came too soon to be told
  gint64 told_full_ = 0;
};

}  // namespace vf
