// SPDX-License-Identifier: LGPL-2.1-or-later
//
// One guest: its ssh master, supervised, and the forwards on it.
//
//   connecting   a master has been started and has not said yet that it is logged in; it has so
//                many seconds for that
//   up           its control socket is there: forwards are added and taken away one by one, each by
//                an ssh that tells the master
//   failed       no master; the next attempt comes after a delay that doubles, at once when the
//                order changes in what the attempt depends on
//
// The destinations are tried one after the other without a delay between them. A master that is
// lost begins anew with the first.

#pragma once

#include <chrono>
#include <cstddef>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "glib/source.h"
#include "ssh/backoff.h"
#include "ssh/child.h"
#include "ssh/places.h"
#include "ssh/transcript.h"
#include "wire/ssh.h"

namespace vf {

struct SshSettings {
  std::string ssh;          // program, absolute
  std::string own_program;  // this one
  bool own_keys = false;    // an order without a key means the user's own
  std::chrono::milliseconds first_delay{1'000};
  std::chrono::milliseconds longest_delay{30'000};
  std::chrono::milliseconds steady_time{10'000};   // up for so long: delays begin anew
  std::chrono::milliseconds log_in_time{60'000};   // longest
  std::chrono::milliseconds forward_again{5'000};  // after a forward that ssh refused to make
};

class Master {
 public:
  struct Observer {
    virtual ~Observer() = default;
    // Changed. In another state than up no tunnel is laid. Never inside a call of Master.
    virtual void state_changed(const SshState& state) = 0;
    virtual void tunnel_changed(const SshTunnel& tunnel) = 0;
    virtual void connection_ended(const SshRefused& refused) = 0;
  };

  // Begins at once. `places`, `settings` and `observer` outlive it.
  Master(const Places& places, const SshSettings& settings, SshGuest order, Observer& observer);
  ~Master();  // ends ssh with all connections, and removes the sockets
  Master(const Master&) = delete;
  Master& operator=(const Master&) = delete;

  // What stays carries on; the same again changes nothing.
  void order(SshGuest order);

  const SshState& state() const { return state_; }
  // Those of which something is known.
  std::vector<SshTunnel> tunnels() const;

 private:
  // Of a forward in the master: `adding` and `taking` while the ssh that says so runs.
  enum class Step { absent, adding, laid, taking };
  struct Forward {
    Step step = Step::absent;
    bool wanted = true;
    bool waits = false;   // ssh refused to make it; it is tried again
    std::string reason;   // why it is not laid
    std::string refused;  // last connection
  };
  using Forwards = std::map<AgentEndpoint, Forward>;

  void begin(std::chrono::milliseconds delay);
  void attempt();
  Result<void> start();
  Result<void> check_key() const;
  void heard(std::string_view bytes);
  void logged_in();
  void ended(int status);
  void attempt_failed(std::string reason);
  void lost(std::string reason);
  void stop();
  std::string failure(std::string_view end) const;
  void become(SshPhase phase, std::string reason);

  void next_operation();
  void operate(Forwards::iterator forward);
  void operated(int status);
  void forward_failed(Forwards::iterator forward, std::string reason);
  void connection(const std::string& target, const std::string& reason);
  void tell(const AgentEndpoint& target, const Forward& forward);

  const Places& places_;
  const SshSettings& settings_;
  SshGuest order_;
  Observer& observer_;

  SshState state_;
  std::optional<RelayEndpoint> destination_;  // of the running master
  std::size_t next_ = 0;                      // destination
  std::string reasons_;                       // of the attempts of this round
  Backoff backoff_;
  std::chrono::steady_clock::time_point up_since_;
  std::unique_ptr<Transcript> transcript_;
  std::unique_ptr<Child> ssh_;
  Source timer_;  // the next attempt, or the end of patience with this one

  Forwards forwards_;
  std::unique_ptr<Child> operation_;
  AgentEndpoint operated_;
  std::string said_;  // by the operation
  Source again_;      // look what is to be done
  Source retry_;      // of what ssh refused
  Source telling_;
};

}  // namespace vf
