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
#include "relay/crew.h"
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

// The next connection that is there within a moment.
Fd accepted_or_none(const Fd& listening) {
  pollfd waits{listening.get(), POLLIN, 0};
  return poll(&waits, 1, 20) == 1 ? accepted_socket(listening) : Fd();
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

TEST(Endpoints, FromAUnixSocketToTcpAndToAnother) {
  RelayThread relay;
  const Fd tcp_guest = listening_socket();
  const UnixEndpoint unix_guest = some_name();
  const Fd unix_listening = listening_unix(unix_guest);
  const UnixEndpoint first = some_name();
  const UnixEndpoint second = some_name();
  relay.serve(forward_to(local_endpoint(tcp_guest.get())), listening_unix(first));
  RelayForward other = forward_to(unix_guest);
  other.key = "b";
  relay.serve(std::move(other), listening_unix(second));
  const Fd client = connected_unix(first);
  expect_carried(client, accepted_socket(tcp_guest));
  const Fd unix_client = connected_unix(second);
  expect_carried(unix_client, accepted_socket(unix_listening));
}

TEST(Endpoints, StreamSocketsOfThreeFamiliesAreServedAndNoOthers) {
  EXPECT_TRUE(Listener::serves(listening_socket().get()));
  EXPECT_TRUE(Listener::serves(listening_unix(some_name()).get()));
  EXPECT_TRUE(Listener::serves(bound_socket().get())) << "as one that is paused";
  const Fd packets(socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0));
  const auto address = socket_address(some_name());
  ASSERT_EQ(bind(packets.get(), address->get(), address->length), 0);
  ASSERT_EQ(listen(packets.get(), 1), 0);
  EXPECT_FALSE(Listener::serves(packets.get()));
  EXPECT_FALSE(Listener::serves(STDERR_FILENO));
}

TEST(Endpoints, ADomainsForwardsShareItsBound) {
  const Fd guest = listening_socket();
  DescriptorBudget descriptors(1000);
  EventLog events;
  auto crew = *Crew::create(2, descriptors, events);
  std::vector<Endpoint> hosts;
  for (const char* key : {"one/a", "one/b", "two/a"}) {
    RelayForward forward = forward_to(local_endpoint(guest.get()));
    forward.key = key;
    forward.max_domain_connections = 2;
    RelayAdd add{std::move(forward), {}};
    add.listeners.push_back(listening_socket());
    hosts.push_back(local_endpoint(add.listeners.front().get()));
    ASSERT_TRUE(crew->stage(std::move(add)));
  }
  crew->commit({});
  const Fd first = connected_socket(hosts[0]);
  const Fd first_guest = accepted_socket(guest);
  Fd second = connected_socket(hosts[1]);
  Fd second_guest = accepted_socket(guest);
  EXPECT_EQ(ending_at(hosts[0]), ECONNRESET);
  EXPECT_EQ(ending_at(hosts[1]), ECONNRESET);
  const Fd other = connected_socket(hosts[2]);
  expect_carried(other, accepted_socket(guest));
  // A place that is free again is another's.
  reset(std::move(second));
  EXPECT_EQ(ending(second_guest), ECONNRESET);
  bool served = false;
  for (int i = 0; i < 1000 && !served; ++i) {
    const Fd next = connected_socket(hosts[0]);
    served = send_all(next, "x") && receive(accepted_or_none(guest), 1) == "x";
  }
  EXPECT_TRUE(served);
}

TEST(Endpoints, AUnixTargetThatIsNotThereIsAReset) {
  RelayThread relay;
  const Endpoint host = relay.add("a", {some_name()});
  EXPECT_EQ(ending_at(host), ECONNRESET);
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
  ASSERT_TRUE(relay.eventually(
      [&](ServedForwards& table, Loop&) { return table.counters().front().connections == 1; }));
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
  // More microseconds than 32 bits hold.
  RelayForward patient = forward_to(local_endpoint(listening.get()));
  patient.key = "b";
  patient.idle_timeout = 4295;
  const Fd waiting = connected_socket(relay.add(std::move(patient), listening_socket()));
  const Fd waiting_guest = accepted_socket(listening);
  EXPECT_EQ(ending(idle), ECONNRESET);
  EXPECT_EQ(ending(idle_guest), ECONNRESET);
  EXPECT_TRUE(send_all(waiting, "z"));
  EXPECT_EQ(receive(waiting_guest, 1), "z");
  ended = true;
  talking.join();
  EXPECT_TRUE(send_all(busy, "y"));
  EXPECT_EQ(receive(busy_guest, 1), "y");
}

}  // namespace
}  // namespace vf
