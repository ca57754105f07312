// SPDX-License-Identifier: LGPL-2.1-or-later
//
// Takes the host's connections, reads their requests and makes sessions of them. Who is not the
// host is closed at once; a request that does not come in time, or among too many others, as well.

#pragma once

#include <cstddef>
#include <list>
#include <memory>
#include <string>

#include "base/fd.h"
#include "base/result.h"
#include "guest/config.h"
#include "guest/log.h"
#include "guest/loop.h"
#include "guest/session.h"
#include "guest/socket_table.h"
#include "guest/watch.h"
#include "wire/guest.h"

struct sockaddr_vm;

namespace vf::guest {

struct Limits {
  std::size_t sessions = 4096;
  std::size_t control_sessions = 8;
  std::size_t requests = 1024;  // that are not whole yet; one more ends the eldest
  std::chrono::milliseconds request_timeout{10'000};
  bool hints = true;  // as of Watch
};

// Who connects.
struct Peer {
  bool host = false;
  bool privileged = false;  // only the host's root can come from there
};
Peer peer_from(const sockaddr_vm& address);

class Server final : private Sessions, private Handler, private Timer {
 public:
  Server(Loop& loop, SocketTable& sockets, Config config, const GuestToken& token, Limits limits);
  ~Server() override;

  // A socket that listens, of vsock or, standing in for it, a unix one: there the peer's user
  // tells whether it is privileged.
  [[nodiscard]] bool serve(Fd listener);
  void configure(Config config);
  const Watch& watched() const { return watch_; }

 private:
  class Request;

  Loop& loop() override { return loop_; }
  BufferPool& buffers() override { return buffers_; }
  const Config& config() const override { return config_; }
  Watch& watch() override { return watch_; }
  const GuestToken& token() const override { return token_; }
  void ended(Session& session) override;
  void refuse(Fd host, const GuestReply& reply) override;

  void ready(std::uint32_t events) override;
  void expired() override;
  // Null where the kernel cannot watch it: it has gone.
  Request* accepted(Fd host, bool privileged);
  void serve(Fd host, const GuestRequest& request, bool privileged);
  void drop(Request& request);
  void complain(const std::string& line);

  Loop& loop_;
  Config config_;
  GuestToken token_;
  Limits limits_;
  BufferPool buffers_;
  Watch watch_;
  Fd listener_;
  bool vsock_ = false;
  bool paused_ = false;
  std::list<std::unique_ptr<Request>> requests_;
  std::list<std::unique_ptr<Session>> sessions_;
  std::list<std::unique_ptr<Session>> control_;
  RateLimit complaints_;
};

// 128 random bits, not all of them zero.
Result<GuestToken> make_token();

}  // namespace vf::guest
