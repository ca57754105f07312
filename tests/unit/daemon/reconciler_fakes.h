// SPDX-License-Identifier: LGPL-2.1-or-later

#pragma once

#include <map>
#include <set>
#include <string>
#include <vector>

#include "core/allocation.h"
#include "daemon/relay.h"

namespace vf {

// Ports in memory, of TCP and of UDP apart; `held_by_others` are of TCP. A listener that was handed
// out keeps its port busy until it is closed: each is the write end of a pipe, and a port is free
// when reading the other end says that it is closed.
class FakePorts : public PortBinder {
 public:
  std::set<unsigned> held_by_others;

  Result<BoundPort> bind(const HostClaim& claim, std::optional<Port> port) override;
  void pause(const std::vector<Fd>& listeners) override { paused += listeners.size(); }
  bool resume(const std::vector<Fd>& listeners) override {
    paused -= listeners.size();
    return !lost_while_paused;
  }
  std::size_t paused = 0;
  bool lost_while_paused = false;
  bool is_bound(unsigned number, Protocol protocol = Protocol::tcp);

 private:
  std::multimap<std::pair<Protocol, unsigned>, Fd> watched_;
};

// A relay in memory: notes what each commit applied. With `slow`, it applies when apply() is
// called.
class FakeRelay : public Relay {
 public:
  bool is_ready = true;
  bool slow = false;
  std::map<std::string, RelayForward> forwards;
  std::vector<std::string> applied;  // "+KEY", "~KEY", "-KEY", "-KEY drain"

  bool ready() const override { return is_ready; }
  void add(const RelayForward& forward, const std::vector<int>& listeners) override;
  void update(const RelayForward& forward) override;
  void remove(const std::string& key, Removal removal) override;
  using Relay::commit;
  void commit(std::function<void()> done) override;
  void statistics(std::function<void(Result<Statistics>)> done) override { done(told); }
  Statistics told;
  void keep(const std::string& name, int) override { kept.push_back(name); }
  std::vector<std::string> kept;
  void open_guest(const std::string& guest, const RelayEndpoint&, bool udp, Fd) override {
    guests.push_back("open " + guest + (udp ? " udp" : ""));
  }
  void guest_wants(const std::string& guest, bool udp) override {
    if (udp) guests.push_back("udp " + guest);
  }
  void close_guest(const std::string& guest) override { guests.push_back("close " + guest); }
  std::vector<std::string> guests;
  bool agent_reply(RelayAgentReply) override { return false; }

  void apply();
  std::vector<std::string> take() { return std::exchange(applied, {}); }
  // What a daemon that comes anew would be told.
  std::vector<HeldForward> held() const;

 private:
  std::vector<std::function<void()>> staged_;
  std::vector<std::function<void()>> done_;
  std::map<std::string, std::vector<Fd>> listeners_;
};

}  // namespace vf
