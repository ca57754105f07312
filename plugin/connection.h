// SPDX-License-Identifier: LGPL-2.1-or-later
//
// Opens a libvirt connection in a worker, subscribes to what may change domains, notices the
// connection's death and opens it anew with back-off. Main thread only, callbacks too; libvirt's
// events need the default main context to run.

#pragma once

#include <chrono>
#include <cstdint>
#include <memory>
#include <string>

#include "glib/source.h"
#include "plugin/libvirt_handles.h"
#include "plugin/worker_pool.h"

namespace vf {

class Connection {
 public:
  // What an event says may have changed.
  enum class Change {
    domain,    // anything about it
    metadata,  // only that
    reset,     // the guest rebooted
    agent,     // of the QEMU guest agent
  };

  struct Observer {
    virtual ~Observer() = default;
    // Nothing is known of the time before: read everything.
    virtual void connection_up() = 0;
    // Once for each new reason; the next attempt is scheduled.
    virtual void connection_down(const std::string& reason) = 0;
    virtual void domain_event(const std::string& uuid, Change change) = 0;
    virtual void networks_changed() = 0;
  };

  // `workers` and `observer` outlive it.
  Connection(std::string uri, WorkerPool& workers, Observer& observer);
  ~Connection();
  Connection(const Connection&) = delete;
  Connection& operator=(const Connection&) = delete;

  void start();
  // Null while it is down.
  const ConnectHandle& handle() const { return handle_; }
  const std::string& down_reason() const { return down_reason_; }
  // The connection proved to work: the next back-off begins at its shortest.
  void settle() { delay_ = first_delay; }
  // Gives the connection up as if it had died.
  void give_up(const std::string& reason);

 private:
  struct Opened;
  struct Link;
  friend struct ConnectionCallbacks;

  static constexpr std::chrono::milliseconds first_delay{100};
  static constexpr std::chrono::milliseconds longest_delay{10000};

  void open();
  void opened(Opened opened);
  void schedule();
  void report_down(const std::string& reason);
  void drop();

  const std::string uri_;
  WorkerPool& workers_;
  Observer& observer_;
  ConnectHandle handle_;
  std::shared_ptr<Link> link_;  // of the present attempt or connection
  std::string down_reason_;
  std::chrono::milliseconds delay_ = first_delay;
  Source retry_;
  Source slow_answer_;
};

}  // namespace vf
