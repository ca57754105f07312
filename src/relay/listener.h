// SPDX-License-Identifier: LGPL-2.1-or-later

#pragma once

#include <cstdint>
#include <functional>
#include <memory>

#include "base/fd.h"
#include "base/result.h"
#include "relay/context.h"
#include "relay/loop.h"

namespace vf {

// A listening socket and what it accepts. Where descriptors or memory run out it stops accepting
// for a moment; clients then wait in the socket's backlog.
class Listener final : private Handler, private Timer {
 public:
  // Two descriptors of the budget come with each client. The function may retire the listener.
  using OnClient = std::function<void(Fd client)>;
  // Every thread of the relay accepts from the same socket.
  using Socket = std::shared_ptr<const Fd>;

  // True for what a Listener can serve: a stream socket. One that does not listen was paused by the
  // daemon while it was on its way here, and the daemon takes it back (pause_listening()).
  static bool serves(int fd);

  Listener(RelayContext& context, Socket socket, OnClient on_client);
  ~Listener() override;

  Result<void> start();
  // Lets go of the socket; then this is to be retired.
  void stop();

 private:
  void ready(std::uint32_t events) override;
  void expired() override;
  // False when it is better not to go on.
  bool accept_one();
  void pause(int error_number);

  RelayContext& context_;
  Socket socket_;
  OnClient on_client_;
  int batch_ = 1;  // how many clients a round takes
  std::uint64_t round_ = 0;
  bool paused_ = false;
};

}  // namespace vf
