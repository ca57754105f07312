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

  // True for what a Listener can serve: a TCP socket that listens.
  static bool serves(int fd);

  Listener(RelayContext& context, Fd socket, OnClient on_client);
  ~Listener() override;

  Result<void> start();
  // Closes the socket; then this is to be retired.
  void stop();
  int fd() const { return socket_.get(); }
  std::uint64_t cookie() const;

 private:
  void ready(std::uint32_t events) override;
  void expired() override;
  bool accept_one();
  void pause(int error_number);

  RelayContext& context_;
  Fd socket_;
  OnClient on_client_;
  bool paused_ = false;
};

}  // namespace vf
