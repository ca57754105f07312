// SPDX-License-Identifier: LGPL-2.1-or-later
//
// Forwards between sockets of different kinds, and what a forward may ask for beyond its target.

#include <gtest/gtest.h>
#include <sys/un.h>

#include <atomic>
#include <string>
#include <thread>
#include <vector>

#include "base/relay_endpoint.h"
#include "loopback.h"
#include "relay/proxy_header.h"
#include "relay_thread.h"

namespace vf {
namespace {

using namespace test;

UnixEndpoint some_name() {
  static std::atomic<int> count{0};
  return {"@relay-endpoints-" + std::to_string(getpid()) + '-' + std::to_string(++count)};
}

Fd listening_unix(const UnixEndpoint& at, int backlog = 16) {
  Fd fd(socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
  const auto address = socket_address(at);
  EXPECT_EQ(bind(fd.get(), address->get(), address->length), 0);
  EXPECT_EQ(listen(fd.get(), backlog), 0);
  set_deadline(fd.get());
  return fd;
}

Fd connected_unix(const UnixEndpoint& to) {
  Fd fd(socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
  set_deadline(fd.get());
  const auto address = socket_address(to);
  EXPECT_EQ(connect(fd.get(), address->get(), address->length), 0) << strerror(errno);
  return fd;
}

// A question, an answer, and the two ends one after the other.
void expect_carried(const Fd& client, const Fd& guest) {
  const std::string question(300'000, 'q');
  std::thread asking([&] {
    EXPECT_TRUE(send_all(client, question));
    shutdown(client.get(), SHUT_WR);
  });
  EXPECT_EQ(receive(guest, question.size()), question);
  asking.join();
  EXPECT_EQ(ending(guest), 0);
  EXPECT_TRUE(send_all(guest, "answer"));
  EXPECT_EQ(receive(client, 6), "answer");
  shutdown(guest.get(), SHUT_WR);
  EXPECT_EQ(ending(client), 0);
}

RelayForward forward_to(RelayEndpoint endpoint) {
  RelayForward forward;
  forward.key = "a";
  forward.target.endpoints = {std::move(endpoint)};
  return forward;
}

TEST(Endpoints, FromTcpToAUnixSocket) {
  RelayThread relay;
  const UnixEndpoint guest = some_name();
  const Fd listening = listening_unix(guest);
  const Endpoint host = relay.add("a", {guest});
  const Fd client = connected_socket(host);
  expect_carried(client, accepted_socket(listening));
}

TEST(Endpoints, AUnixTargetThatIsNotThereIsAReset) {
  RelayThread relay;
  const Endpoint host = relay.add("a", {some_name()});
  EXPECT_EQ(ending(connected_socket(host)), ECONNRESET);
  ASSERT_TRUE(relay.events.wait_for(1));
  EXPECT_EQ(relay.events.all().front(), "failing a " + std::to_string(ECONNREFUSED));
}

// A full backlog of a unix socket refuses at once, where TCP waits.
TEST(Endpoints, AFullBacklogOfAUnixTargetIsWaitedFor) {
  RelayThread relay;
  const UnixEndpoint guest = some_name();
  const Fd listening = listening_unix(guest, 0);
  const Fd blocker = connected_unix(guest);
  const Endpoint host = relay.add("a", {guest});
  const Fd client = connected_socket(host);
  ASSERT_TRUE(relay.eventually([&](ServedForwards& table, Loop&) {
    return table.counters().front().connections == 1;
  }));
  EXPECT_TRUE(relay.events.all().empty());
  const Fd first = accepted_socket(listening);
  expect_carried(client, accepted_socket(listening));
}

TEST(Endpoints, AProxyHeaderGoesAheadOfTheClientsBytes) {
  RelayThread relay;
  const Fd listening = listening_socket();
  RelayForward forward = forward_to(local_endpoint(listening.get()));
  forward.proxy_protocol = true;
  const Endpoint host = relay.add(std::move(forward), listening_socket());
  const Fd client = connected_socket(host);
  const Fd guest = accepted_socket(listening);
  EXPECT_TRUE(send_all(client, "hello"));
  const std::string header = receive(guest, 28);
  ASSERT_EQ(header.size(), 28u);
  EXPECT_EQ(header.substr(0, 12), std::string("\r\n\r\n\0\r\nQUIT\n", 12));
  const auto port = local_endpoint(client.get()).port.number();
  EXPECT_EQ(static_cast<std::uint8_t>(header[24]), port >> 8);
  EXPECT_EQ(static_cast<std::uint8_t>(header[25]), port & 0xff);
  EXPECT_EQ(receive(guest, 5), "hello");
}

TEST(Endpoints, AnIdleConnectionEndsAfterItsTimeAndABusyOneDoesNot) {
  RelayThread relay;
  const Fd listening = listening_socket();
  RelayForward forward = forward_to(local_endpoint(listening.get()));
  forward.idle_timeout = 1;
  const Endpoint host = relay.add(std::move(forward), listening_socket());
  const Fd idle = connected_socket(host);
  const Fd idle_guest = accepted_socket(listening);
  const Fd busy = connected_socket(host);
  const Fd busy_guest = accepted_socket(listening);
  std::atomic<bool> ended = false;
  std::thread talking([&] {
    while (!ended && send_all(busy, "x") && receive(busy_guest, 1) == "x")
      std::this_thread::sleep_for(std::chrono::milliseconds(20));
  });
  EXPECT_EQ(ending(idle), ECONNRESET);
  EXPECT_EQ(ending(idle_guest), ECONNRESET);
  ended = true;
  talking.join();
  EXPECT_TRUE(send_all(busy, "y"));
  EXPECT_EQ(receive(busy_guest, 1), "y");
}

}  // namespace
}  // namespace vf
