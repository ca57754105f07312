// SPDX-License-Identifier: LGPL-2.1-or-later
//
// The daemon's end of the relay: finds or starts the relay process, hands it listening sockets, and
// reads back what it holds after either of the two was restarted. Main thread only.

#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "daemon/relay.h"

namespace vf {

class RelayClient : public Relay {
 public:
  struct Options {
    std::string socket_path;    // control socket of a running relay
    std::string relay_program;  // started where nothing answers there; empty: never
    std::string relay_user;     // that a started relay runs as; empty: the daemon's own
  };

  RelayClient(Options options, Observer& observer);
  ~RelayClient();  // leaves the relay running
  RelayClient(const RelayClient&) = delete;
  RelayClient& operator=(const RelayClient&) = delete;

  void start();
  bool ready() const override;
  void add(const RelayForward& forward, const std::vector<int>& listeners) override;
  void update(const RelayForward& forward) override;
  void remove(const std::string& key, Removal removal) override;
  using Relay::commit;
  void commit(std::function<void()> done) override;
  void statistics(std::function<void(Result<Statistics>)> done) override;
  void keep(const std::string& name, int fd) override;
  void open_guest(const std::string& guest, const RelayEndpoint& agent, bool wants_udp,
                  Fd control) override;
  void guest_wants(const std::string& guest, bool udp) override;
  void close_guest(const std::string& guest) override;
  bool agent_reply(RelayAgentReply reply) override;

  // Asks the relay to end: its listeners and connections go with it.
  void shut_down(std::function<void()> done);

 private:
  class Implementation;
  std::unique_ptr<Implementation> implementation_;
};

}  // namespace vf
