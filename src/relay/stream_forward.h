// SPDX-License-Identifier: LGPL-2.1-or-later

#pragma once

#include <list>
#include <memory>
#include <string>
#include <vector>

#include "relay/connection.h"
#include "relay/forward.h"

namespace vf {

// Listeners, and the connections that this thread accepted from them.
class StreamForward final : public Forward, private Connection::Owner {
 public:
  StreamForward(RelayContext& context, RelayForward definition, std::shared_ptr<ForwardShare> share,
                OnDrained on_drained);
  ~StreamForward() override;

  // A connection from the other lane, as one of this forward.
  void take(MovingConnection connection);

  void replace_listeners(std::vector<Listener::Socket> listeners) override;
  void stop_listening() override;
  // Resets them.
  void cut() override;
  void cut_outlived() override;
  bool drained() const override { return listeners_.empty() && connections_.empty(); }

 private:
  void client(Fd socket);
  // Takes a place for a connection; the bound that leaves none, if so.
  std::string take_place();
  void reached_guest(std::size_t endpoint) override { reached(endpoint); }
  void missed_guest(int error_number) override { missed(error_number); }
  void carried(std::uint64_t to_guest, std::uint64_t to_client) override;
  void changes_lane(Connection& connection) override;
  void ended(Connection& connection) override;
  void begin(std::unique_ptr<Connection> connection);
  void remove(Connection& connection);

  std::vector<std::unique_ptr<Listener>> listeners_;
  std::list<std::unique_ptr<Connection>> connections_;
  gint64 told_full_ = 0;
};

}  // namespace vf
