// SPDX-License-Identifier: LGPL-2.1-or-later
//
// A host with forwards and guests behind its bridge, all of it network namespaces and listening
// sockets. The test's process is in the host's namespace; what listens for the relay and in the
// guest is accepted by the test itself, so that it knows who was reached.

#pragma once

#include <functional>
#include <ostream>
#include <string>

#include "base/address.h"
#include "base/fd.h"
#include "offload/offload.h"

namespace vf::test {

// A network namespace with nothing but lo, for as long as this or a socket in it lives.
class Namespace {
 public:
  Namespace();
  // In a thread of its own that is there.
  void run(const std::function<void()>& function) const;

 private:
  Fd fd_;
};

Endpoint endpoint(const std::string& address, unsigned port);

// Listens in the namespace of the calling thread, at any port when `port` is 0; both families for
// ::.
Fd listening(const std::string& address, unsigned port = 0);
unsigned port_of(const Fd& socket);

// How a connection is made; deadlines of 5 s on each later call.
struct Client {
  Fd socket;
  int error = 0;  // of connect(): an errno value
};
Client connect_to(const Endpoint& to, const std::function<void(const Fd&)>& prepare = {});
// Of a socket that was made already.
int connect_socket(const Fd& socket, const Endpoint& to);
// Waits 5 s for somebody who connects.
Fd accepted(const Fd& listener);

// What the next read finds, within 5 s: "end", "error", "bytes", or "nothing".
std::string next_read(const Fd& socket);
// A byte there and back, both ends' in the test's hands.
bool talks(const Fd& one, const Fd& other);

// vbr0 is 10.9.0.1/24 and fd00:9::1/64; the guests 10.9.0.2, 10.9.0.3 and fd00:9::2 lie in one
// namespace.
class Place {
 public:
  Place();
  ~Place();
  Place(const Place&) = delete;
  Place& operator=(const Place&) = delete;

  Fd listening_in_guest(const std::string& address, unsigned port = 0) const;
  const Namespace& guest() const { return guest_; }

 private:
  Namespace guest_;
};

// A port of the host that the relay listens on, and a service in a guest.
struct Forward {
  OffloadEntry entry;
  Fd relay;
  Fd guest;
};
Forward make_forward(const Place& place, const std::string& key,
                     const std::string& host = "127.0.0.1", const std::string& guest = "10.9.0.2");

// Both ends of a connection to the host's side of a forward.
struct Connection {
  Fd client;
  Fd server;
  enum Reached { nobody, relay, guest } reached = nobody;
};
Connection connection(const Forward& forward, const std::function<void(const Fd&)>& prepare = {});
// Accepts where `client` got to.
Connection reached_by(Fd client, const Forward& forward);
const char* text(Connection::Reached reached);
inline void PrintTo(Connection::Reached reached, std::ostream* out) {
  *out << text(reached);
}

// Serves the main context until the condition holds, 10 s at most.
bool run_until(const std::function<bool()>& condition);

}  // namespace vf::test
