// SPDX-License-Identifier: LGPL-2.1-or-later
//
// What daemon and relay say about guests.

#include <fcntl.h>
#include <gtest/gtest.h>

#include <cerrno>
#include <limits>
#include <string>
#include <utility>
#include <vector>

#include "wire/relay.h"

namespace vf {
namespace {

const std::string guest = "7d3a0c9e-0000-4000-8000-000000000001";

RelayPacket packet_of(RelayMessage message) {
  RelayPacket packet;
  EXPECT_TRUE(packet.append(message));
  return packet;
}

bool is_sent(RelayMessage message) {
  RelayPacket packet;
  return packet.append(message);
}

template <typename T>
T round_trip(T message) {
  RelayPacket packet = packet_of(std::move(message));
  auto messages = decode_relay_packet(packet.bytes, std::move(packet.fds));
  EXPECT_TRUE(messages && messages->size() == 1u);
  T* decoded = messages ? std::get_if<T>(&messages->front()) : nullptr;
  EXPECT_NE(decoded, nullptr);
  return decoded ? std::move(*decoded) : T{};
}

RelayGuestOpen sample_open() {
  RelayGuestOpen open{guest, VsockEndpoint{3, 1010}, true, {}};
  open.control.emplace_back(::open("/dev/null", O_RDWR | O_CLOEXEC));
  return open;
}

GuestListener sample_listener() {
  return {{true, *IpAddress::parse("fe80::1"), *Port::from(65535)},
          4711,
          33,
          "postgres",
          "/usr/bin/postgres -D /données",
          "docker/0123"};
}

TEST(RelayGuestWire, EveryMessageComesBackAsItWas) {
  RelayGuestOpen open = sample_open();
  const int fd = open.control[0].get();
  open = round_trip(std::move(open));
  EXPECT_EQ(open.guest, guest);
  EXPECT_EQ(open.agent, RelayEndpoint(VsockEndpoint{3, 1010}));
  EXPECT_TRUE(open.wants_udp);
  ASSERT_EQ(open.control.size(), 1u);
  EXPECT_EQ(open.control[0].get(), fd);

  const RelayGuestWants wants = round_trip(RelayGuestWants{guest, true});
  EXPECT_TRUE(wants.guest == guest && wants.wants_udp);
  EXPECT_EQ(round_trip(RelayGuestClose{guest}).guest, guest);
  const RelayGuestUp up = round_trip(RelayGuestUp{guest, 250, "virt-forward-guest 0.1.0"});
  EXPECT_TRUE(up.guest == guest && up.fallback_ms == 250);
  EXPECT_EQ(up.program, "virt-forward-guest 0.1.0");
  const RelayGuestDown down =
      round_trip(RelayGuestDown{guest, RelayGuestFault::not_understood, ETIMEDOUT, 7, 65535});
  EXPECT_EQ(down.guest, guest);
  EXPECT_EQ(down.fault, RelayGuestFault::not_understood);
  EXPECT_EQ(down.error_number, ETIMEDOUT);
  EXPECT_TRUE(down.status == 7 && down.version == 65535);
  EXPECT_EQ(round_trip(RelayGuestListener{guest, sample_listener()}).listener, sample_listener());
  EXPECT_EQ(round_trip(RelayGuestListener{guest, {}}).listener, GuestListener{});
  EXPECT_EQ(round_trip(RelayGuestGone{guest, sample_listener().key}).key, sample_listener().key);
  const RelayGuestSynced synced = round_trip(RelayGuestSynced{guest, ~0u, ~0ull});
  EXPECT_TRUE(synced.guest == guest && synced.left_out == ~0u && synced.slowed == ~0ull);

  const RelayAgentReply reply =
      round_trip(RelayAgentReply{guest, 9, RelayAgentStep::end, std::string("\0{\xff", 3)});
  EXPECT_TRUE(reply.guest == guest && reply.sequence == 9 && reply.step == RelayAgentStep::end);
  EXPECT_EQ(reply.text, std::string("\0{\xff", 3));
  const RelayAgentAnswer answer =
      round_trip(RelayAgentAnswer{guest, 9, true, std::numeric_limits<std::int64_t>::min()});
  EXPECT_TRUE(answer.guest == guest && answer.sequence == 9 && answer.understood);
  EXPECT_EQ(answer.number, std::numeric_limits<std::int64_t>::min());
}

TEST(RelayGuestWire, WhatIsOutOfBoundsIsNotSent) {
  EXPECT_FALSE(is_sent(RelayGuestClose{""}));
  EXPECT_FALSE(is_sent(RelayGuestClose{std::string(relay_key_max_bytes + 1, 'g')}));
  EXPECT_FALSE(is_sent(RelayGuestOpen{guest, VsockEndpoint{3, 1010}, false, {}})) << "no stream";
  RelayGuestOpen circular = sample_open();
  circular.agent = AgentEndpoint{{}, Port::from(1), {}};
  EXPECT_FALSE(is_sent(std::move(circular))) << "an agent behind itself";

  GuestListener listener = sample_listener();
  listener.name = std::string(GuestListener::max_name_bytes + 1, 'n');
  EXPECT_FALSE(is_sent(RelayGuestListener{guest, listener}));
  listener = sample_listener();
  listener.command = "\x1b[2J";
  EXPECT_FALSE(is_sent(RelayGuestListener{guest, listener})) << "it acts on a terminal";
  listener = sample_listener();
  listener.container = "\xff";
  EXPECT_FALSE(is_sent(RelayGuestListener{guest, listener})) << "not UTF-8";
  EXPECT_FALSE(is_sent(RelayGuestUp{guest, 0, "a\nb"}));

  RelayAgentReply reply{guest, 1, RelayAgentStep::tcp4, std::string(60 * 1024, 'x')};
  EXPECT_TRUE(is_sent(reply));
  reply.text += 'x';
  EXPECT_FALSE(is_sent(reply));
}

// The relay reads what a guest wrote, so the daemon does not take its word for it.
TEST(RelayGuestWire, WhatARelayMayNotTellIsRejected) {
  const auto rejected = [](RelayPacket packet, std::size_t at, std::uint8_t value) {
    EXPECT_TRUE(decode_relay_packet(packet.bytes, {}));
    packet.bytes.at(at) = value;
    return !decode_relay_packet(packet.bytes, {});
  };
  // header 8, length of guest 2, guest 1
  const auto told = [] {
    GuestListener listener;
    listener.name = "sshd";
    return packet_of(RelayGuestListener{"g", listener});
  };
  // udp 1, v4 1, address 4, port 2, pid 4, uid 4, length 2, name 4
  EXPECT_TRUE(rejected(told(), 11, 2)) << "protocol";
  EXPECT_TRUE(rejected(told(), 12, 2)) << "family";
  EXPECT_TRUE(rejected(told(), 12, 0)) << "family of another length";
  EXPECT_TRUE(rejected(told(), 29, 0x1b)) << "a name that acts on a terminal";
  EXPECT_TRUE(rejected(told(), 27, 0xff)) << "length of the name";
  RelayPacket no_port = told();
  no_port.bytes.at(17) = no_port.bytes.at(18) = 0;
  EXPECT_FALSE(decode_relay_packet(no_port.bytes, {}));
  EXPECT_TRUE(rejected(packet_of(RelayGuestDown{"g"}), 11, 3)) << "fault";
  EXPECT_TRUE(rejected(packet_of(RelayGuestWants{"g"}), 11, 2)) << "flag";
  EXPECT_TRUE(rejected(packet_of(RelayAgentReply{"g"}), 19, 7)) << "step";
  EXPECT_TRUE(rejected(packet_of(RelayAgentAnswer{"g"}), 19, 2)) << "understood";

  RelayPacket open = packet_of(sample_open());
  EXPECT_FALSE(decode_relay_packet(open.bytes, {})) << "no stream";
}

}  // namespace
}  // namespace vf
