// SPDX-License-Identifier: LGPL-2.1-or-later
//
// What waits for a peer of the private socket, which is cut off when that is too much. A bus has
// bounds of its own. Main thread only.
//
// Theory of operation: GDBus queues what is sent without a bound, and takes calls off the socket
// on a thread of its own as fast as they come. It gives messages a serial as they are queued, and
// shows them to filters when they leave the queue to be written. So the queue is what has a serial
// past the last one that a filter saw. Its bytes are those that we say for serials of the main
// thread; GDBus's own answers (Ping, an object that is not there) are bounded as calls whose
// answers have not left.
//
// A peer that reads, and asks faster than it is answered, would fill the main loop: GDBus puts each
// call there as it comes. So of one peer only so many calls get there unanswered, and of those
// whose answers list all objects a few; more are refused (LimitsExceeded) by the filter.
// A question that wants no answer goes no further: nobody would see when it has been handled.

#pragma once

#include <cstddef>
#include <deque>
#include <memory>
#include <utility>

#include "glib/ref.h"

namespace vf {

class BusBacklog {
 public:
  struct Limits {
    std::size_t bytes = 64 << 20;    // queued and not written
    std::size_t calls = 8192;        // that have come, and whose answers are not written
    std::size_t pending = 2048;      // of those, for the main loop
    std::size_t introspections = 8;  // of those again
  };

  BusBacklog(GDBusConnection* connection, Limits limits);
  ~BusBacklog();
  BusBacklog(const BusBacklog&) = delete;
  BusBacklog& operator=(const BusBacklog&) = delete;

  // The message that the main thread has just sent has so many bytes.
  void sent(std::size_t bytes);
  // The one that it is about to send.
  void sending(std::size_t bytes);
  // The peer is cut off, and what it asked needs no answer.
  bool cut() const;

 private:
  struct Shared;

  void add(guint32 serial, std::size_t bytes);

  Ref<GDBusConnection> connection_;
  std::size_t most_bytes_;
  std::shared_ptr<Shared> shared_;  // with the filter, on GDBus's thread
  guint filter_;
  std::deque<std::pair<guint32, std::size_t>> queued_;
  std::size_t queued_bytes_ = 0;
};

}  // namespace vf
