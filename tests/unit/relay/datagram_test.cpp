// SPDX-License-Identifier: LGPL-2.1-or-later
//
// Datagrams through forwards on real loopback sockets.

#include <gtest/gtest.h>
#include <netinet/udp.h>

#include <array>
#include <set>
#include <string>
#include <vector>

#include "base/listening_socket.h"
#include "loopback.h"
#include "relay/crew.h"
#include "relay/datagram_batch.h"
#include "relay/datagram_forward.h"
#include "relay_thread.h"

namespace vf {
namespace {

using namespace test;

Fd bound_udp(const IpAddress& address = IpAddress::loopback4()) {
  Fd fd(socket(address.is_v4() ? AF_INET : AF_INET6, SOCK_DGRAM | SOCK_CLOEXEC, 0));
  const auto local = SocketAddress::from(address, std::nullopt);
  EXPECT_EQ(bind(fd.get(), local.get(), local.length), 0);
  set_deadline(fd.get());
  return fd;
}

Fd connected_udp(const Endpoint& to) {
  Fd fd(socket(to.address.is_v4() ? AF_INET : AF_INET6, SOCK_DGRAM | SOCK_CLOEXEC, 0));
  const auto address = SocketAddress::from(to.address, to.port);
  EXPECT_EQ(connect(fd.get(), address.get(), address.length), 0);
  set_deadline(fd.get());
  return fd;
}

std::string received(const Fd& fd, SocketAddress* from = nullptr) {
  std::string data(70'000, '\0');
  SocketAddress sender;
  sender.length = sizeof sender.storage;
  const ssize_t length =
      recvfrom(fd.get(), data.data(), data.size(), 0, sender.get(), &sender.length);
  if (from) *from = sender;
  if (length < 0) return std::string("error ") + strerror(errno);
  data.resize(static_cast<std::size_t>(length));
  return data;
}

bool sent(const Fd& fd, const std::string& data) {
  return send(fd.get(), data.data(), data.size(), MSG_NOSIGNAL) ==
         static_cast<ssize_t>(data.size());
}

bool answered(const Fd& guest, const SocketAddress& to, const std::string& data) {
  return sendto(guest.get(), data.data(), data.size(), 0, to.get(), to.length) ==
         static_cast<ssize_t>(data.size());
}

// A question and its answer; the address that the guest saw.
Endpoint expect_carried(const Fd& client, const Fd& guest, const std::string& data = "question") {
  EXPECT_TRUE(sent(client, data));
  SocketAddress from;
  EXPECT_EQ(received(guest, &from), data);
  EXPECT_TRUE(answered(guest, from, data + " answered"));
  EXPECT_EQ(received(client), data + " answered");
  return *from.endpoint();
}

// True when nothing has come; what is on its way has, for the relay has answered a question since.
bool silent(const Fd& fd) {
  char byte;
  return recv(fd.get(), &byte, 1, MSG_DONTWAIT) < 0 && errno == EAGAIN;
}

RelayForward datagrams_to(std::vector<RelayEndpoint> endpoints) {
  RelayForward forward;
  forward.key = "d";
  forward.protocol = RelayProtocol::datagram;
  forward.target.endpoints = std::move(endpoints);
  return forward;
}

class DatagramTest : public testing::Test {
 protected:
  Endpoint target() const { return local_endpoint(guest_.get()); }

  Fd guest_ = bound_udp();
  RelayThread relay_;
};

TEST_F(DatagramTest, CarriesThemBothWaysAndCounts) {
  const Fd client = connected_udp(relay_.add(datagrams_to({target()}), bound_udp()));
  expect_carried(client, guest_);
  const RelayCounters counters = relay_.counters("d");
  EXPECT_EQ(counters.bytes_in, 8u);
  EXPECT_EQ(counters.bytes_out, 17u);
  EXPECT_EQ(counters.connections, 1u);
  EXPECT_EQ(counters.accepted, 1u);
  EXPECT_EQ(counters.failures, 0u);
  EXPECT_EQ(relay_.events.all(), std::vector<std::string>{"proven d"});
}

TEST_F(DatagramTest, OfAnySize) {
  const Fd client = connected_udp(relay_.add(datagrams_to({target()}), bound_udp()));
  for (const std::size_t size : {0u, 1u, 1472u, 9000u, 65'507u}) {
    const std::string data(size, static_cast<char>('a' + size % 26));
    EXPECT_TRUE(sent(client, data));
    SocketAddress from;
    EXPECT_EQ(received(guest_, &from), data);
    EXPECT_TRUE(answered(guest_, from, data));
    EXPECT_EQ(received(client), data);
  }
}

TEST_F(DatagramTest, EachClientIsAnotherForTheGuest) {
  const Endpoint host = relay_.add(datagrams_to({target()}), bound_udp());
  std::vector<Fd> clients;
  std::set<Endpoint> seen;
  for (int i = 0; i < 20; ++i) {
    clients.push_back(connected_udp(host));
    seen.insert(expect_carried(clients.back(), guest_, std::to_string(i)));
  }
  EXPECT_EQ(seen.size(), clients.size());
  EXPECT_EQ(expect_carried(clients.front(), guest_), expect_carried(clients.front(), guest_));
  EXPECT_EQ(relay_.counters("d").connections, clients.size());
}

TEST_F(DatagramTest, BurstsOfManyClientsKeepTheirOrderAndSizes) {
  const Endpoint host = relay_.add(datagrams_to({target()}), bound_udp());
  const Fd one = connected_udp(host);
  const Fd two = connected_udp(host);
  std::vector<std::string> expected_one;
  std::vector<std::string> expected_two;
  for (int i = 0; i < 100; ++i) {
    // Equal sizes make runs; a shorter one ends a run, a longer one and an empty one too.
    const std::size_t size = i % 10 == 9 ? 5 : i % 17 == 16 ? 120 : i % 23 == 22 ? 0 : 60;
    std::string data = std::to_string(i);
    data.resize(size, '.');
    expected_one.push_back('1' + data);
    expected_two.push_back('2' + data);
    ASSERT_TRUE(sent(one, expected_one.back()) && sent(two, expected_two.back()));
  }
  std::vector<std::string> got_one;
  std::vector<std::string> got_two;
  SocketAddress from_one;
  for (int i = 0; i < 200; ++i) {
    SocketAddress from;
    std::string data = received(guest_, &from);
    if (data.starts_with('1')) from_one = from;
    (data.starts_with('1') ? got_one : got_two).push_back(std::move(data));
  }
  EXPECT_EQ(got_one, expected_one);
  EXPECT_EQ(got_two, expected_two);
  for (const std::string& data : expected_one)
    ASSERT_TRUE(answered(guest_, from_one, data));
  for (const std::string& data : expected_one)
    ASSERT_EQ(received(one), data);
  EXPECT_TRUE(silent(two));
}

// A client that hands the kernel many datagrams in one.
TEST_F(DatagramTest, RunsStayDatagrams) {
  const Fd client = connected_udp(relay_.add(datagrams_to({target()}), bound_udp()));
  const int segment = 100;
  ASSERT_EQ(setsockopt(client.get(), SOL_UDP, UDP_SEGMENT, &segment, sizeof segment), 0);
  std::string run;
  for (char letter = 'a'; letter <= 'j'; ++letter)
    run += std::string(100, letter);
  run += "end";
  ASSERT_TRUE(sent(client, run));
  for (char letter = 'a'; letter <= 'j'; ++letter)
    EXPECT_EQ(received(guest_), std::string(100, letter));
  EXPECT_EQ(received(guest_), "end");
  EXPECT_EQ(relay_.counters("d").bytes_in, 1003u);
}

TEST_F(DatagramTest, AnswersLeaveFromTheAddressThatWasWrittenTo) {
  const Endpoint host =
      relay_.add(datagrams_to({target()}), bound_udp(*IpAddress::parse("0.0.0.0")));
  for (const char* address : {"127.0.0.1", "127.0.0.2", "127.1.2.3"}) {
    const Fd client = bound_udp();  // not connected: it takes answers from anywhere
    const auto to = SocketAddress::from(*IpAddress::parse(address), host.port);
    ASSERT_EQ(sendto(client.get(), "x", 1, 0, to.get(), to.length), 1);
    SocketAddress guest_saw;
    EXPECT_EQ(received(guest_, &guest_saw), "x");
    EXPECT_TRUE(answered(guest_, guest_saw, "y"));
    SocketAddress from;
    EXPECT_EQ(received(client, &from), "y");
    EXPECT_EQ(from.endpoint()->text(),
              std::string(address) + ':' + std::to_string(host.port.number()));
  }
  EXPECT_EQ(relay_.counters("d").connections, 3u);
}

TEST_F(DatagramTest, BetweenFamiliesAndOnAWildcardOfIPv6) {
  const IpAddress any = *IpAddress::parse("::");
  const Fd guest = bound_udp(IpAddress::loopback6());
  Fd listening = std::get<Fd>(bind_udp(any, std::nullopt));
  const Port port = local_endpoint(listening.get()).port;
  relay_.add(datagrams_to({local_endpoint(guest.get())}), std::move(listening));
  expect_carried(connected_udp({IpAddress::loopback6(), port}), guest);
  RelayForward other = datagrams_to({local_endpoint(guest.get())});
  other.key = "e";
  expect_carried(connected_udp(relay_.add(std::move(other), bound_udp())), guest);
}

TEST_F(DatagramTest, NobodyButTheGuestAnswers) {
  const Fd client = connected_udp(relay_.add(datagrams_to({target()}), bound_udp()));
  const Endpoint relay_side = expect_carried(client, guest_);
  const Fd stranger = connected_udp(relay_side);
  sent(stranger, "hello from somewhere else");
  expect_carried(client, guest_);
  EXPECT_TRUE(silent(client));
}

TEST_F(DatagramTest, ASilentClientIsForgottenAndComesBackAsAnother) {
  RelayForward forward = datagrams_to({target()});
  forward.idle_timeout = 1;
  const Endpoint host = relay_.add(std::move(forward), bound_udp());
  RelayForward patient = datagrams_to({target()});
  patient.key = "patient";
  patient.idle_timeout = 4295;  // more microseconds than 32 bits hold
  expect_carried(connected_udp(relay_.add(std::move(patient), bound_udp())), guest_);
  const Fd client = connected_udp(host);
  const Endpoint before = expect_carried(client, guest_);
  ASSERT_TRUE(relay_.eventually(
      [&](ServedForwards& table, Loop&) { return table.counters().front().connections == 0; }));
  EXPECT_EQ(relay_.counters("patient").connections, 1u);
  EXPECT_NE(expect_carried(client, guest_), before);
  EXPECT_EQ(relay_.counters("d").accepted, 2u);
}

TEST_F(DatagramTest, InAFullTableTheOneThatWasSilentForLongestMakesRoom) {
  RelayForward forward = datagrams_to({target()});
  forward.max_connections = 2;
  const Endpoint host = relay_.add(std::move(forward), bound_udp());
  const Fd one = connected_udp(host);
  const Fd two = connected_udp(host);
  const Fd three = connected_udp(host);
  const Endpoint first = expect_carried(one, guest_);
  const Endpoint second = expect_carried(two, guest_);
  EXPECT_EQ(expect_carried(one, guest_), first);
  expect_carried(three, guest_);  // in the place of two
  EXPECT_EQ(relay_.counters("d").connections, 2u);
  EXPECT_EQ(expect_carried(one, guest_), first);
  EXPECT_NE(expect_carried(two, guest_), second);
}

TEST_F(DatagramTest, WhoMakesRoomInItsOwnBatchIsSaidToBeLost) {
  RelayForward forward = datagrams_to({target()});
  forward.max_connections = 1;
  const Endpoint host = relay_.add(std::move(forward), bound_udp());
  const std::array<Fd, 3> clients{connected_udp(host), connected_udp(host), connected_udp(host)};
  testing::internal::CaptureStderr();
  // While the relay's thread does something else, so that they come as one batch.
  relay_.call([&](ServedForwards&, Loop&) {
    for (const Fd& client : clients)
      EXPECT_TRUE(sent(client, "x"));
  });
  EXPECT_TRUE(relay_.eventually(
      [](ServedForwards& served, Loop&) { return served.counters().at(0).accepted == 3; }));
  EXPECT_NE(testing::internal::GetCapturedStderr().find("datagrams lost"), std::string::npos);
}

TEST(Datagrams, WithoutDescriptorsNewClientsAreLostAndTheRelayLives) {
  const Fd guest = bound_udp();
  RelayThread relay(1);
  const Endpoint host = relay.add(datagrams_to({local_endpoint(guest.get())}), bound_udp());
  const Fd one = connected_udp(host);
  const Fd two = connected_udp(host);
  expect_carried(one, guest);
  expect_carried(two, guest);  // in the place of one
  EXPECT_EQ(relay.counters("d").connections, 1u);
  RelayForward starved = datagrams_to({local_endpoint(guest.get())});
  starved.key = "starved";
  const Fd late = connected_udp(relay.add(std::move(starved), bound_udp()));
  EXPECT_TRUE(sent(late, "lost"));
  expect_carried(two, guest);
  EXPECT_EQ(relay.counters("starved").connections, 0u);
}

TEST(Datagrams, WhereNobodyListensIsToldAndNotTheEnd) {
  RelayThread relay;
  Fd guest = bound_udp();
  const Endpoint target = local_endpoint(guest.get());
  const Endpoint host = relay.add(datagrams_to({target}), bound_udp());
  const Fd client = connected_udp(host);
  guest.reset();
  sent(client, "anybody there?");
  ASSERT_TRUE(relay.events.wait_for(1));
  EXPECT_EQ(relay.events.all().front(), "failing d " + std::to_string(ECONNREFUSED));
  EXPECT_GE(relay.counters("d").failures, 1u);
  guest = Fd(socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0));
  const auto address = SocketAddress::from(target.address, target.port);
  ASSERT_EQ(bind(guest.get(), address.get(), address.length), 0);
  set_deadline(guest.get());
  expect_carried(client, guest);
  ASSERT_TRUE(relay.events.wait_for(2));
  EXPECT_EQ(relay.events.all().back(), "proven d");
}

TEST(Datagrams, TheNextEndpointIsTriedWhereNobodyListens) {
  RelayThread relay;
  Fd closed = bound_udp();
  const Endpoint first = local_endpoint(closed.get());
  closed.reset();
  const Fd guest = bound_udp();
  const Fd client =
      connected_udp(relay.add(datagrams_to({first, local_endpoint(guest.get())}), bound_udp()));
  sent(client, "lost");
  ASSERT_TRUE(relay.events.wait_for(1));
  expect_carried(client, guest);
}

TEST_F(DatagramTest, AnotherTargetTakesTheClientsAlong) {
  const Fd client = connected_udp(relay_.add(datagrams_to({target()}), bound_udp()));
  const Endpoint before = expect_carried(client, guest_);
  const Fd other = bound_udp();
  const auto update = [&](std::vector<RelayEndpoint> endpoints) {
    relay_.call([&](ServedForwards& table, Loop&) {
      table.apply(RelayUpdate{datagrams_to(std::move(endpoints))});
    });
  };
  update({local_endpoint(other.get()), target()});
  EXPECT_EQ(expect_carried(client, guest_), before) << "its endpoint is still one of them";
  update({local_endpoint(other.get())});
  expect_carried(client, other);
  EXPECT_TRUE(silent(guest_));
  update({});
  sent(client, "nowhere");
  update({target()});
  expect_carried(client, guest_);
  EXPECT_TRUE(silent(other));
}

TEST_F(DatagramTest, RemovedItLetsThePortGo) {
  const Endpoint host = relay_.add(datagrams_to({target()}), bound_udp());
  const Fd client = connected_udp(host);
  expect_carried(client, guest_);
  for (const RelayRemoval removal : {RelayRemoval::drain, RelayRemoval::cut}) {
    relay_.remove("d", removal);
    ASSERT_TRUE(relay_.eventually([&](ServedForwards& table, Loop&) {
      return table.size() + table.draining() == 0 &&
             std::holds_alternative<Fd>(bind_udp(host.address, host.port));
    }));
    relay_.add(datagrams_to({target()}), std::get<Fd>(bind_udp(host.address, host.port)));
    expect_carried(client, guest_);
  }
}

TEST_F(DatagramTest, AKeyMayChangeItsKindOfTraffic) {
  const Fd client = connected_udp(relay_.add(datagrams_to({target()}), bound_udp()));
  expect_carried(client, guest_);
  const Fd tcp_guest = listening_socket();
  const Endpoint host = relay_.add("d", {local_endpoint(tcp_guest.get())});
  const Fd stream = connected_socket(host);
  EXPECT_TRUE(send_all(stream, "x"));
  EXPECT_EQ(receive(accepted_socket(tcp_guest), 1), "x");
  expect_carried(connected_udp(relay_.add(datagrams_to({target()}), bound_udp())), guest_);
}

TEST(Datagrams, OnlyUdpSocketsWithAPortAreServed) {
  EXPECT_TRUE(DatagramForward::serves(bound_udp().get()));
  EXPECT_FALSE(DatagramForward::serves(listening_socket().get()));
  EXPECT_FALSE(DatagramForward::serves(Fd(socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0)).get()));
  EXPECT_FALSE(DatagramForward::serves(Fd(socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0)).get()));
}

// With several threads too: all that one client sends comes from one port.
TEST(Datagrams, AClientIsOneThreads) {
  const Fd guest = bound_udp();
  DescriptorBudget descriptors(1000);
  EventLog events;
  auto crew = *Crew::create(4, descriptors, events);
  std::vector<Endpoint> hosts;
  for (int i = 0; i < 8; ++i) {
    RelayAdd add{datagrams_to({local_endpoint(guest.get())}), {}};
    add.forward.key += std::to_string(i);
    add.listeners.push_back(bound_udp());
    hosts.push_back(local_endpoint(add.listeners.front().get()));
    ASSERT_TRUE(crew->stage(std::move(add)));
  }
  RelayAdd wrong{datagrams_to({}), {}};
  wrong.listeners.push_back(listening_socket());
  EXPECT_FALSE(crew->stage(std::move(wrong)));
  crew->commit({});
  for (const Endpoint& host : hosts) {
    const Fd client = connected_udp(host);
    const Endpoint seen = expect_carried(client, guest);
    for (int i = 0; i < 20; ++i)
      ASSERT_EQ(expect_carried(client, guest), seen);
  }
}

// Without checksums the kernel makes no runs.
TEST(DatagramWriter, WhereRunsAreRefusedDatagramsGoAlone) {
  const Fd guest = bound_udp();
  const Fd client = connected_udp(local_endpoint(guest.get()));
  const int on = 1;
  ASSERT_EQ(setsockopt(client.get(), SOL_SOCKET, SO_NO_CHECK, &on, sizeof on), 0);
  bool segments = true;
  const std::string data = "some bytes";
  const std::string run = "some bytessome bytessome";
  DatagramWriter writer({client.get()}, segments);
  const auto bytes = [](const std::string& text) {
    return std::span(reinterpret_cast<const std::uint8_t*>(text.data()), text.size());
  };
  for (int i = 0; i < 5; ++i)
    writer.put({bytes(data), 0});
  writer.put({bytes(run), 10});
  writer.flush();
  EXPECT_FALSE(segments);
  EXPECT_EQ(writer.lost(), 0u);
  EXPECT_EQ(writer.bytes(), 74u);
  for (int i = 0; i < 7; ++i)
    EXPECT_EQ(received(guest), data);
  EXPECT_EQ(received(guest), "some");
}

}  // namespace
}  // namespace vf
