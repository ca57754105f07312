// SPDX-License-Identifier: LGPL-2.1-or-later

#pragma once

#include <list>
#include <memory>

#include "base/fd.h"
#include "flow/buffer_pool.h"
#include "guest/config.h"
#include "guest/loop.h"
#include "guest/watch.h"
#include "wire/guest.h"

namespace vf::guest {

class Session;

// What all sessions work with.
class Sessions {
 public:
  virtual ~Sessions() = default;
  virtual Loop& loop() = 0;
  virtual BufferPool& buffers() = 0;
  virtual const Config& config() const = 0;
  virtual Watch& watch() = 0;
  virtual const GuestToken& token() const = 0;
  // It is over; goes at the end of the round.
  virtual void ended(Session& session) = 0;
  // Tells the host why not, and closes.
  virtual void refuse(Fd host, const GuestReply& reply) = 0;
};

// One connection of the host, once its request was accepted.
class Session {
 public:
  explicit Session(Sessions& sessions) : sessions_(sessions) {}
  virtual ~Session() = default;
  Session(const Session&) = delete;
  Session& operator=(const Session&) = delete;

  virtual void start() = 0;
  // The administrator has changed his mind: ends what may not be any more.
  virtual void config_changed() = 0;

  // Its owner's.
  std::list<std::unique_ptr<Session>>::iterator place;
  bool control = false;

 protected:
  Sessions& sessions_;
};

// Sends the fixed-size reply; the first bytes on a connection always fit. False: the host is gone.
bool send_reply(int host, const GuestReply& reply);

std::unique_ptr<Session> make_control_session(Sessions& sessions, Fd host, std::uint16_t flags);
std::unique_ptr<Session> make_stream_session(Sessions& sessions, Fd host, AgentEndpoint target);
std::unique_ptr<Session> make_datagram_session(Sessions& sessions, Fd host, AgentEndpoint target);

}  // namespace vf::guest
