// SPDX-License-Identifier: LGPL-2.1-or-later

#include "wire/relay.h"

#include <fcntl.h>
#include <gtest/gtest.h>

#include <cstring>
#include <random>
#include <string>
#include <vector>

namespace vf {
namespace {

Fd some_fd() {
  return Fd(open("/dev/null", O_RDWR | O_CLOEXEC));
}

RelayForward sample_forward() {
  RelayForward forward;
  forward.key = "uuid/tcp:8080:80";
  forward.target.endpoints = {
      Endpoint{IpAddress::v4({192, 168, 122, 7}), *Port::from(80)},
      Endpoint{IpAddress::v6({0xfe, 0x80, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 9}, 4),
               *Port::from(65535)},
      UnixEndpoint{"/run/web.sock"},
      UnixEndpoint{"@web"},
      VsockEndpoint{3, 1010},
      AgentEndpoint{{}, Port::from(80), {}},
      AgentEndpoint{IpAddress::loopback4(), Port::from(81), {}},
      AgentEndpoint{IpAddress::loopback6(), Port::from(82), {}},
      AgentEndpoint{{}, {}, "/run/pg.sock"}};
  forward.max_connections = 1000;
  forward.protocol = RelayProtocol::datagram;
  forward.proxy_protocol = true;
  forward.idle_timeout = 90;
  forward.max_domain_connections = 5000;
  return forward;
}

template <typename T>
RelayPacket packet_of(T message) {
  RelayPacket packet;
  RelayMessage any = std::move(message);
  EXPECT_TRUE(packet.append(any));
  return packet;
}

template <typename T>
T round_trip(T message) {
  RelayPacket packet = packet_of(std::move(message));
  auto messages = decode_relay_packet(packet.bytes, std::move(packet.fds));
  EXPECT_TRUE(messages && messages->size() == 1u);
  T* decoded = std::get_if<T>(&messages->front());
  EXPECT_NE(decoded, nullptr);
  return decoded ? std::move(*decoded) : T{};
}

TEST(RelayWire, EveryMessageComesBackAsItWas) {
  EXPECT_EQ(round_trip(RelayHello{7, 5, 4711}), (RelayHello{7, 5, 4711}));
  RelayAdd add{sample_forward(), {}};
  add.listeners.push_back(some_fd());
  add.listeners.push_back(some_fd());
  const int first = add.listeners[0].get();
  const RelayAdd added = round_trip(std::move(add));
  EXPECT_EQ(added.forward, sample_forward());
  ASSERT_EQ(added.listeners.size(), 2u);
  EXPECT_EQ(added.listeners[0].get(), first);
  EXPECT_EQ(round_trip(RelayUpdate{{"k", {}, 0}}).forward, (RelayForward{"k", {}, 0}));
  const RelayRemove removed = round_trip(RelayRemove{"k", RelayRemoval::drain});
  EXPECT_TRUE(removed.key == "k" && removed.removal == RelayRemoval::drain);
  EXPECT_EQ(round_trip(RelayCommit{1}).sequence, 1u);
  EXPECT_EQ(round_trip(RelayCommitted{~0ull}).sequence, ~0ull);
  EXPECT_EQ(round_trip(RelayList{2}).sequence, 2u);
  RelayHeld held{sample_forward(), true, {17}, {}, 5};
  held.listeners.push_back(some_fd());
  const RelayHeld came = round_trip(std::move(held));
  EXPECT_EQ(came.forward, sample_forward());
  EXPECT_TRUE(came.proven);
  EXPECT_EQ(came.cookies, (std::vector<std::uint64_t>{17}));
  EXPECT_EQ(came.listeners.size(), 1u);
  EXPECT_EQ(came.endpoint, 5u);
  EXPECT_EQ(round_trip(RelayListEnd{3}).sequence, 3u);
  EXPECT_EQ(round_trip(RelayStatistics{4}).sequence, 4u);
  const RelayCounters counters{"k", 1, 2, 3, 4, 5};
  EXPECT_EQ(round_trip(counters), counters);
  EXPECT_EQ(round_trip(RelayStatisticsEnd{5}).sequence, 5u);
  const RelayLaneStatistics lane{true, 1, 2, 3, {4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, ~0ull}};
  EXPECT_EQ(round_trip(lane), lane);
  const RelayProven proven = round_trip(RelayProven{"k", 63});
  EXPECT_TRUE(proven.key == "k" && proven.endpoint == 63);
  EXPECT_EQ(round_trip(RelayFailing{"k", ECONNREFUSED}).error_number, ECONNREFUSED);
  round_trip(RelayShutDown{});
  round_trip(RelayTakeOver{});
  RelayControlSocket control;
  control.listeners.push_back(some_fd());
  EXPECT_EQ(round_trip(std::move(control)).listeners.size(), 1u);
  round_trip(RelayRetire{});
  RelayKeep keep{"k", {}};
  keep.fds.push_back(some_fd());
  const RelayKeep kept = round_trip(std::move(keep));
  EXPECT_TRUE(kept.name == "k" && kept.fds.size() == 1);
  RelayKept back{"k", {}};
  back.fds.push_back(some_fd());
  EXPECT_EQ(round_trip(std::move(back)).name, "k");
}

TEST(RelayWire, LanesAddUp) {
  RelayLaneStatistics sum{true, 1, 2, 3, {4}};
  sum += {true, 10, 20, 30, {40, 50}};
  EXPECT_EQ(sum, (RelayLaneStatistics{true, 11, 22, 33, {44, 50}}));
}

TEST(RelayWire, WhatIsKeptIsOne) {
  RelayPacket packet;
  RelayMessage none = RelayKeep{"k", {}};
  EXPECT_FALSE(packet.append(none));
  RelayKeep two{"k", {}};
  two.fds.push_back(some_fd());
  two.fds.push_back(some_fd());
  RelayMessage both = std::move(two);
  EXPECT_FALSE(packet.append(both));
  RelayKeep keep{"k", {}};
  keep.fds.push_back(some_fd());
  RelayPacket one = packet_of(std::move(keep));
  one.bytes[6] = 0;  // how many descriptors
  EXPECT_FALSE(decode_relay_packet(one.bytes, {}));
}

TEST(RelayWire, AControlSocketIsOne) {
  RelayPacket packet;
  RelayMessage none = RelayControlSocket{};
  EXPECT_FALSE(packet.append(none));
  RelayControlSocket control;
  control.listeners.push_back(some_fd());
  RelayPacket one = packet_of(std::move(control));
  one.bytes[6] = 0;  // how many descriptors
  EXPECT_FALSE(decode_relay_packet(one.bytes, {}));
}

// The hello is how two versions find out about each other.
TEST(RelayWire, TheHelloKeepsItsLayout) {
  struct {
    std::uint32_t length = 20;
    std::uint16_t kind = 1, fds = 0;
    std::uint32_t version = 9, capabilities = 8, pid = 7;
  } const fixed;
  const RelayPacket packet = packet_of(RelayHello{9, 8, 7});
  ASSERT_EQ(packet.bytes.size(), sizeof fixed);
  EXPECT_EQ(std::memcmp(packet.bytes.data(), &fixed, sizeof fixed), 0);
}

TEST(RelayWire, APacketTakesWhatFits) {
  RelayPacket packet;
  std::size_t count = 0;
  for (;; ++count) {
    RelayAdd add{sample_forward(), {}};
    add.listeners.push_back(some_fd());
    RelayMessage message = std::move(add);
    if (!packet.append(message)) {
      EXPECT_EQ(std::get<RelayAdd>(message).listeners.size(), 1u) << "it was taken";
      break;
    }
  }
  EXPECT_EQ(count, relay_packet_max_fds);
  auto messages = decode_relay_packet(packet.bytes, std::move(packet.fds));
  ASSERT_TRUE(messages);
  EXPECT_EQ(messages->size(), count);

  RelayPacket long_keys;
  RelayMessage proven;
  do {
    proven = RelayProven{std::string(relay_key_max_bytes, 'k')};
  } while (long_keys.append(proven));
  EXPECT_LE(long_keys.bytes.size(), relay_packet_max_bytes);
  EXPECT_TRUE(decode_relay_packet(long_keys.bytes, {}));
}

TEST(RelayWire, WhatIsOutOfBoundsIsNotSent) {
  RelayPacket packet;
  RelayMessage no_key = RelayProven{""};
  RelayMessage long_key = RelayProven{std::string(relay_key_max_bytes + 1, 'k')};
  RelayForward many = sample_forward();
  many.target.endpoints.resize(relay_max_endpoints + 1, many.target.endpoints.front());
  RelayMessage many_endpoints = RelayUpdate{many};
  RelayMessage no_cookie = RelayHeld{sample_forward(), false, {1}, {}};
  EXPECT_FALSE(packet.append(no_key));
  EXPECT_FALSE(packet.append(long_key));
  RelayForward long_path = sample_forward();
  long_path.target.endpoints = {UnixEndpoint{std::string(108, 'p')}};
  RelayMessage path = RelayUpdate{long_path};
  EXPECT_FALSE(packet.append(many_endpoints));
  EXPECT_FALSE(packet.append(path));
  EXPECT_FALSE(packet.append(no_cookie));
  EXPECT_TRUE(packet.empty());
}

TEST(RelayWire, DescriptorsAreNeitherMissingNorLeftOver) {
  RelayAdd add{sample_forward(), {}};
  add.listeners.push_back(some_fd());
  RelayPacket packet = packet_of(std::move(add));
  EXPECT_FALSE(decode_relay_packet(packet.bytes, {}));
  std::vector<Fd> two;
  two.push_back(some_fd());
  two.push_back(some_fd());
  EXPECT_FALSE(decode_relay_packet(packet.bytes, std::move(two)));

  // A kind that takes none is given one.
  RelayPacket commit = packet_of(RelayCommit{1});
  const std::uint16_t one = 1;
  std::memcpy(commit.bytes.data() + 6, &one, sizeof one);
  std::vector<Fd> fds;
  fds.push_back(some_fd());
  EXPECT_FALSE(decode_relay_packet(commit.bytes, std::move(fds)));
}

TEST(RelayWire, DescriptorsOfARejectedPacketAreClosed) {
  Fd fd = some_fd();
  const int number = fd.get();
  std::vector<Fd> fds;
  fds.push_back(std::move(fd));
  const std::vector<std::uint8_t> nonsense{1, 2, 3};
  EXPECT_FALSE(decode_relay_packet(nonsense, std::move(fds)));
  EXPECT_EQ(fcntl(number, F_GETFD), -1);
}

TEST(RelayWire, EveryTruncationIsRejected) {
  RelayAdd add{sample_forward(), {}};
  add.listeners.push_back(some_fd());
  const RelayPacket packet = packet_of(std::move(add));
  for (std::size_t length = 1; length < packet.bytes.size(); ++length) {
    std::vector<Fd> fds;
    fds.push_back(some_fd());
    EXPECT_FALSE(decode_relay_packet(std::span(packet.bytes).first(length), std::move(fds)))
        << length;
    // The same with a length in front that claims to be whole.
    std::vector<std::uint8_t> cut(packet.bytes.begin(),
                                  packet.bytes.begin() + static_cast<std::ptrdiff_t>(length));
    const auto claimed = static_cast<std::uint32_t>(length);
    if (length >= sizeof claimed) std::memcpy(cut.data(), &claimed, sizeof claimed);
    fds.clear();
    fds.push_back(some_fd());
    EXPECT_FALSE(decode_relay_packet(cut, std::move(fds))) << length;
  }
  EXPECT_FALSE(decode_relay_packet(std::vector<std::uint8_t>(relay_packet_max_bytes + 1), {}));
}

// Numbers that no encoder writes: each is in one byte of an update, a removal or a held forward.
TEST(RelayWire, OutOfRangeNumbersAreRejected) {
  const auto rejected = [](RelayPacket packet, std::size_t at, std::uint8_t value) {
    packet.bytes.at(at) = value;
    return !decode_relay_packet(packet.bytes, {});
  };
  const auto update = [] {
    return packet_of(RelayUpdate{{"k", {{Endpoint{IpAddress::loopback4(), *Port::from(1)}}}, 0}});
  };
  // header 8, key length 2, key 1, three numbers 12, protocol 1, proxy 1, count 1, kind 1, port 2,
  // address 4
  EXPECT_TRUE(rejected(update(), 4, 99)) << "kind of message";
  EXPECT_TRUE(rejected(update(), 8, 0)) << "length of key";
  EXPECT_TRUE(rejected(update(), 9, 0xff)) << "length of key";
  EXPECT_TRUE(rejected(update(), 23, 2)) << "protocol";
  EXPECT_TRUE(rejected(update(), 24, 2)) << "proxy protocol";
  EXPECT_TRUE(rejected(update(), 25, 2)) << "endpoints";
  EXPECT_TRUE(rejected(update(), 25, 255)) << "endpoints";
  EXPECT_TRUE(rejected(update(), 26, 0)) << "kind of endpoint";
  EXPECT_TRUE(rejected(update(), 26, 9)) << "kind of endpoint";
  EXPECT_TRUE(rejected(update(), 26, 2)) << "kind of endpoint of another length";
  EXPECT_TRUE(rejected(update(), 27, 0)) << "port 0";
  const auto unix_path = [] { return packet_of(RelayUpdate{{"k", {{UnixEndpoint{"/p"}}}, 0}}); };
  EXPECT_TRUE(rejected(unix_path(), 27, 0)) << "no path";
  EXPECT_TRUE(rejected(unix_path(), 29, 0)) << "NUL in a path";
  const IpAddress global = *IpAddress::parse("2001:db8::1");
  EXPECT_TRUE(
      rejected(packet_of(RelayUpdate{{"k", {{Endpoint{global, *Port::from(1)}}}, 0}}), 45, 1))
      << "scope of an address that has none";
  EXPECT_TRUE(rejected(packet_of(RelayRemove{"k", RelayRemoval::cut}), 11, 2)) << "removal";
  EXPECT_TRUE(rejected(packet_of(RelayHeld{{"k", {}, 0}, false, {}, {}}), 26, 2)) << "proven";
  EXPECT_TRUE(rejected(packet_of(RelayHeld{{"k", {}, 0}, false, {}, {}}), 27, 64)) << "endpoint";
  EXPECT_TRUE(rejected(packet_of(RelayProven{"k"}), 11, 64)) << "endpoint";
}

TEST(RelayWire, RandomDamageNeverBreaksTheDecoder) {
  std::mt19937 random(1);
  for (int round = 0; round < 5'000; ++round) {
    RelayPacket packet;
    RelayMessage update = RelayUpdate{sample_forward()};
    RelayMessage remove = RelayRemove{"key", RelayRemoval::drain};
    RelayMessage counters = RelayCounters{"key", 1, 2, 3, 4, 5};
    ASSERT_TRUE(packet.append(update) && packet.append(remove) && packet.append(counters));
    for (unsigned i = 0; i <= random() % 3; ++i)
      packet.bytes[random() % packet.bytes.size()] = static_cast<std::uint8_t>(random());
    const auto messages = decode_relay_packet(packet.bytes, {});
    if (!messages) continue;
    // What is taken can be said again.
    for (const RelayMessage& message : *messages)
      if (const auto* taken = std::get_if<RelayUpdate>(&message)) {
        EXPECT_LE(taken->forward.key.size(), relay_key_max_bytes);
        EXPECT_EQ(round_trip(RelayUpdate{taken->forward}).forward, taken->forward);
      }
  }
}

}  // namespace
}  // namespace vf
