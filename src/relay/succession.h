// SPDX-License-Identifier: LGPL-2.1-or-later
//
// A relay that takes over from the one that runs, without a refused connection:
//
//   successor                                 predecessor
//   hello (as successor), take-over      ->   accepts no control connection any more, drops its
//                                             daemon and what that had staged
//                                        <-   control socket, held*, kept*, list-end
//   serves the same listening sockets
//   retire                               ->   closes its listeners, drains, ends
//   takes control connections; the daemon's next one is waiting in the socket
//
// A successor that goes before it says "retire" changes nothing: the predecessor goes on.

#pragma once

#include <string>
#include <vector>

#include "base/fd.h"
#include "base/result.h"
#include "wire/relay.h"

namespace vf {

// The successor's end. Blocking, with a deadline of 30 s for each answer.
class Succession {
 public:
  // From the relay whose control socket is at `path`.
  static Result<Succession> from(const std::string& path);

  Fd take_control_socket() { return std::move(control_socket_); }
  std::vector<RelayHeld> take_forwards() { return std::move(forwards_); }
  std::vector<RelayKept> take_kept() { return std::move(kept_); }
  // When they are served here.
  void retire_predecessor();

 private:
  explicit Succession(Fd socket) : socket_(std::move(socket)) {}
  Result<void> run();
  Result<std::vector<RelayMessage>> receive();
  void send(RelayMessage message);

  Fd socket_;
  Fd control_socket_;
  std::vector<RelayHeld> forwards_;
  std::vector<RelayKept> kept_;
};

// Goes on as a child in a session of its own, while the caller's process waits here until the child
// says serving() and then ends with status 0, or with the child's own where that ends before.
class Background {
 public:
  static Result<Background> enter();
  void serving();

 private:
  explicit Background(Fd waiting) : waiting_(std::move(waiting)) {}
  Fd waiting_;
};

}  // namespace vf
