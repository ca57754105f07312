// SPDX-License-Identifier: LGPL-2.1-or-later
//
// Follows one daemon for a program that must not wait: connects, watches, and connects again when
// the daemon went away, in a thread of its own. What it learns arrives in the thread that made it.

#pragma once

#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <thread>

#include "client/daemon.h"
#include "core/forward_view.h"
#include "glib/ref.h"

namespace vf {

enum class FollowState {
  connecting,  // not known yet
  connected,
  absent,   // no daemon runs
  refused,  // one runs, and not for this user
  failing,  // one is there and does not answer
};

// By object path; no value: it is gone.
struct Changes {
  bool whole = false;  // everything there is; what is not in it is gone
  std::map<std::string, std::optional<DomainView>> domains;
  std::map<std::string, std::optional<ForwardView>> forwards;
  std::map<std::string, std::optional<PortView>> ports;
};

// What is asked for, since no signal tells it.
struct Polled {
  std::map<std::string, ForwardCounters> counters;
  bool libvirt_connected = true;
  bool relay_connected = true;
};

class Follower {
 public:
  class Observer {
   public:
    virtual ~Observer() = default;
    virtual void state_changed(const Follower& follower) = 0;
    virtual void changed(const Follower& follower, const Changes& changes) = 0;
  };

  // `where` is asked before each attempt, in the follower's thread. Nothing is told before the
  // main context of this thread runs.
  Follower(std::function<Instance()> where, Observer& observer);
  // Waits for an attempt to connect that is under way.
  ~Follower();
  Follower(const Follower&) = delete;
  Follower& operator=(const Follower&) = delete;

  FollowState state() const { return state_; }
  const Instance& instance() const { return instance_; }
  // Why there is no connection; empty where nobody is there.
  const std::string& reason() const { return reason_; }
  // Null while there is none. Its calls are for run_in_worker(): any number of threads may make
  // them at once.
  std::shared_ptr<const Daemon> daemon() const { return daemon_; }
  // Tries at once instead of at its next turn.
  void retry();

 private:
  class Thread;
  void told(FollowState state, Instance instance, std::string reason,
            std::shared_ptr<const Daemon> daemon);

  Observer& observer_;
  FollowState state_ = FollowState::connecting;
  Instance instance_;
  std::string reason_;
  std::shared_ptr<const Daemon> daemon_;
  std::shared_ptr<Follower*> self_;
  std::unique_ptr<Thread> thread_;
};

// Waits, see run_in_worker().
Polled poll(const Daemon& daemon);

}  // namespace vf
