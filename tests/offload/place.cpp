// SPDX-License-Identifier: LGPL-2.1-or-later

#include "place.h"

#include <fcntl.h>
#include <glib.h>
#include <gtest/gtest.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sched.h>
#include <sys/socket.h>
#include <sys/time.h>

#include <cerrno>
#include <chrono>
#include <cstring>
#include <fstream>
#include <thread>
#include <utility>

#include "glib/source.h"
#include "private_network.h"

namespace vf::test {
namespace {

constexpr int patience = 5000;  // ms

void set_deadlines(const Fd& socket) {
  const timeval deadline{patience / 1000, 0};
  setsockopt(socket.get(), SOL_SOCKET, SO_RCVTIMEO, &deadline, sizeof deadline);
  setsockopt(socket.get(), SOL_SOCKET, SO_SNDTIMEO, &deadline, sizeof deadline);
}

}  // namespace

Namespace::Namespace() {
  std::thread([this] {
    if (unshare(CLONE_NEWNET) < 0) return;
    fd_ = Fd(open("/proc/thread-self/ns/net", O_RDONLY | O_CLOEXEC));
    ip("link set lo up");
  }).join();
  EXPECT_TRUE(fd_) << std::strerror(errno);
}

void Namespace::run(const std::function<void()>& function) const {
  std::thread([&] {
    ASSERT_EQ(setns(fd_.get(), CLONE_NEWNET), 0) << std::strerror(errno);
    function();
  }).join();
}

Endpoint endpoint(const std::string& address, unsigned port) {
  return {*IpAddress::parse(address), *Port::from(port)};
}

Fd listening(const std::string& address, unsigned port) {
  const IpAddress at = *IpAddress::parse(address);
  Fd socket(::socket(at.is_v4() ? AF_INET : AF_INET6, SOCK_STREAM | SOCK_CLOEXEC, 0));
  const int yes = 1;
  setsockopt(socket.get(), SOL_SOCKET, SO_REUSEADDR, &yes, sizeof yes);
  if (at.is_loopback() && !at.is_v4())
    setsockopt(socket.get(), IPPROTO_IPV6, IPV6_V6ONLY, &yes, sizeof yes);
  const SocketAddress where = SocketAddress::from(at, Port::from(port));
  EXPECT_EQ(bind(socket.get(), where.get(), where.length), 0) << address << std::strerror(errno);
  EXPECT_EQ(listen(socket.get(), 4096), 0);
  return socket;
}

unsigned port_of(const Fd& socket) {
  SocketAddress where;
  where.length = sizeof where.storage;
  if (getsockname(socket.get(), where.get(), &where.length) < 0) return 0;
  const auto found = where.endpoint();
  return found ? found->port.number() : 0;
}

int connect_socket(const Fd& socket, const Endpoint& to) {
  const SocketAddress where = SocketAddress::from(to.address, to.port);
  return connect(socket.get(), where.get(), where.length) == 0 ? 0 : errno;
}

Client connect_to(const Endpoint& to, const std::function<void(const Fd&)>& prepare) {
  Client client;
  client.socket =
      Fd(socket(to.address.is_v4() ? AF_INET : AF_INET6, SOCK_STREAM | SOCK_CLOEXEC, 0));
  set_deadlines(client.socket);
  if (prepare) prepare(client.socket);
  client.error = connect_socket(client.socket, to);
  return client;
}

Fd accepted(const Fd& listener) {
  pollfd waiting{listener.get(), POLLIN, 0};
  if (poll(&waiting, 1, patience) <= 0) return {};
  Fd socket(accept4(listener.get(), nullptr, nullptr, SOCK_CLOEXEC));
  set_deadlines(socket);
  return socket;
}

std::string next_read(const Fd& socket) {
  char byte = 0;
  const ssize_t got = recv(socket.get(), &byte, 1, 0);
  if (got > 0) return "bytes";
  if (got == 0) return "end";
  return errno == EAGAIN ? "nothing" : "error";
}

bool talks(const Fd& one, const Fd& other) {
  char byte = 'x';
  const auto passes = [&](const Fd& from, const Fd& to) {
    return send(from.get(), &byte, 1, MSG_NOSIGNAL) == 1 && recv(to.get(), &byte, 1, 0) == 1;
  };
  return passes(one, other) && passes(other, one);
}

Place::Place() {
  EXPECT_TRUE(add_bridge("vbr0", "10.9.0.1/24 fd00:9::1/64"));
  guest_.run([] {
    std::ofstream("/proc/sys/net/ipv6/conf/default/accept_dad") << "0";
    // Made here, its other end given to the host: a process can be named, this namespace cannot.
    EXPECT_TRUE(ip("link add eth0 type veth peer name vtap0 netns " + std::to_string(getpid())));
    EXPECT_TRUE(ip("address add 10.9.0.2/24 dev eth0"));
    EXPECT_TRUE(ip("address add 10.9.0.3/24 dev eth0"));
    EXPECT_TRUE(ip("address add fd00:9::2/64 dev eth0"));
    EXPECT_TRUE(ip("link set eth0 up"));
  });
  EXPECT_TRUE(ip("link set vtap0 master vbr0 up"));
  // Nothing listens there, and the bridge's new port carries the refusal.
  EXPECT_EQ(connect_to(endpoint("10.9.0.2", 1)).error, ECONNREFUSED);
  EXPECT_EQ(connect_to(endpoint("fd00:9::2", 1)).error, ECONNREFUSED);
}

Place::~Place() {
  ip("link del vtap0");
  ip("link del vbr0");
}

Fd Place::listening_in_guest(const std::string& address, unsigned port) const {
  Fd socket;
  guest_.run([&] { socket = listening(address, port); });
  return socket;
}

Forward make_forward(const Place& place, const std::string& key, const std::string& host,
                     const std::string& guest) {
  Fd relay = listening(host);
  Fd service = place.listening_in_guest(guest);
  OffloadEntry entry{key, Protocol::tcp, endpoint(host, port_of(relay)),
                     endpoint(guest, port_of(service)), "vbr0"};
  return {std::move(entry), std::move(relay), std::move(service)};
}

Connection reached_by(Fd client, const Forward& forward) {
  Connection made{std::move(client), {}};
  pollfd waiting[] = {{forward.relay.get(), POLLIN, 0}, {forward.guest.get(), POLLIN, 0}};
  if (poll(waiting, 2, patience) <= 0) return made;
  made.reached = waiting[0].revents ? Connection::relay : Connection::guest;
  made.server = accepted(waiting[0].revents ? forward.relay : forward.guest);
  return made;
}

Connection connection(const Forward& forward, const std::function<void(const Fd&)>& prepare) {
  Client client = connect_to(forward.entry.host, prepare);
  EXPECT_EQ(client.error, 0) << std::strerror(client.error);
  if (client.error != 0) return {};
  return reached_by(std::move(client.socket), forward);
}

const char* text(Connection::Reached reached) {
  return reached == Connection::relay   ? "the relay"
         : reached == Connection::guest ? "the guest"
                                        : "nobody";
}

bool run_until(const std::function<bool()>& condition) {
  bool late = false;
  const Source alarm = after(std::chrono::seconds(10), [&] { late = true; });
  // Wakes the loop so that the condition is looked at again.
  const Source tick = every(std::chrono::milliseconds(20), [] {});
  while (!condition()) {
    if (late) return false;
    g_main_context_iteration(nullptr, TRUE);
  }
  return true;
}

}  // namespace vf::test
