// SPDX-License-Identifier: LGPL-2.1-or-later

#include "wire/ssh.h"

#include <gtest/gtest.h>

#include <cstring>
#include <random>
#include <string>
#include <vector>

namespace vf {
namespace {

const std::string uuid = "d3b2a6f0-0d5e-4c1a-9a55-6b1f0c9d7e01";

AgentEndpoint localhost(std::uint16_t port) {
  return {{}, Port::from(port), {}};
}

SshGuest sample() {
  return {uuid,
          {Endpoint{IpAddress::v4({192, 168, 122, 7}), *Port::from(22)},
           Endpoint{IpAddress::v6({0xfe, 0x80, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 9}, 4),
                    *Port::from(2222)},
           VsockEndpoint{3, 22}},
          "admin",
          "/etc/virt-forward/keys/lab",
          {localhost(80), AgentEndpoint{IpAddress::loopback6(), Port::from(81), {}},
           AgentEndpoint{{}, {}, "/run/a b:c%d"}}};
}

bool is_sent(SshMessage message) {
  return !encode_ssh_message(std::move(message)).empty();
}

template <typename T>
T round_trip(const T& message) {
  auto messages = decode_ssh_packet(encode_ssh_message(message), {});
  EXPECT_TRUE(messages && messages->size() == 1u);
  if (!messages || messages->size() != 1u) return {};
  T* const decoded = std::get_if<T>(&messages->front());
  EXPECT_NE(decoded, nullptr);
  return decoded ? std::move(*decoded) : T{};
}

TEST(SshWire, EveryMessageComesBackAsItWas) {
  EXPECT_EQ(round_trip(SshHello{7, 5, 4711}), (SshHello{7, 5, 4711}));
  EXPECT_EQ(round_trip(sample()), sample());
  const SshGuest bare{uuid, {}, "root", "", {}};
  EXPECT_EQ(round_trip(bare), bare);
  EXPECT_EQ(round_trip(SshClose{uuid}).uuid, uuid);
  round_trip(SshSync{});
  round_trip(SshShutDown{});
  for (const SshPhase phase : {SshPhase::connecting, SshPhase::up, SshPhase::failed}) {
    const SshState state{uuid, phase, "Permission denied (publickey)."};
    EXPECT_EQ(round_trip(state), state);
  }
  const SshTunnel laid{uuid, localhost(80), "/run/virt-forward-ssh/u/80", ""};
  EXPECT_EQ(round_trip(laid), laid);
  const SshTunnel not_laid{uuid, localhost(80), "", "administratively prohibited"};
  EXPECT_EQ(round_trip(not_laid), not_laid);
  for (const char* const reason : {"", "Connection refused"}) {
    const SshRefused refused{uuid, localhost(80), reason};
    EXPECT_EQ(round_trip(refused), refused);
  }
}

// The hello is how two versions find out about each other.
TEST(SshWire, TheHelloKeepsItsLayout) {
  struct {
    std::uint32_t length = 20;
    std::uint16_t kind = 1, fds = 0;
    std::uint32_t version = 9, capabilities = 8, pid = 7;
  } const fixed;
  const auto bytes = encode_ssh_message(SshHello{9, 8, 7});
  ASSERT_EQ(bytes.size(), sizeof fixed);
  EXPECT_EQ(std::memcmp(bytes.data(), &fixed, sizeof fixed), 0);
}

TEST(SshWire, TheLargestOrderFitsIntoAPacket) {
  SshGuest guest = sample();
  guest.targets.assign(ssh_max_targets, {{}, {}, "/" + std::string(106, 'p')});
  guest.key_path = "/" + std::string(4094, 'k');
  guest.destinations.assign(ssh_max_destinations,
                            Endpoint{IpAddress::loopback6(), *Port::from(22)});
  EXPECT_EQ(round_trip(guest), guest);
  guest.targets.push_back(localhost(1));
  EXPECT_FALSE(is_sent(guest));
  guest.targets.clear();
  guest.destinations.push_back(VsockEndpoint{3, 22});
  EXPECT_FALSE(is_sent(guest));
}

TEST(SshWire, UsersAreAccountNames) {
  for (const char* const good : {"root", "_x", "a.b-c_d9", "A"})
    EXPECT_TRUE(is_ssh_user(good)) << good;
  for (const char* const bad : {"", "-oProxyCommand=x", ".a", "9", "a b", "a@b", "a%h", "a\n", "ä",
                                "a$(id)", "abcdefghijklmnopqrstuvwxyz0123456"})
    EXPECT_FALSE(is_ssh_user(bad)) << bad;
  EXPECT_TRUE(is_ssh_user("abcdefghijklmnopqrstuvwxyz012345"));
}

TEST(SshWire, WhatIsNoOrderIsNotSent) {
  const auto changed = [](auto change) {
    SshGuest guest = sample();
    change(guest);
    return is_sent(guest);
  };
  EXPECT_TRUE(changed([](SshGuest&) {}));
  EXPECT_FALSE(changed([](SshGuest& guest) { guest.user = "-oProxyCommand=x"; }));
  EXPECT_FALSE(
      changed([](SshGuest& guest) { guest.uuid = "../../../../../../etc/cron.daily/x12"; }));
  EXPECT_FALSE(changed([](SshGuest& guest) { guest.key_path = "relative"; }));
  EXPECT_FALSE(changed([](SshGuest& guest) { guest.destinations[0] = UnixEndpoint{"/x"}; }));
  EXPECT_FALSE(changed([](SshGuest& guest) { guest.destinations[0] = localhost(22); }));
  EXPECT_FALSE(changed([](SshGuest& guest) { guest.targets[0].port.reset(); }));
  EXPECT_FALSE(changed([](SshGuest& guest) { guest.targets[2].path = "relative"; }));
  EXPECT_FALSE(is_sent(SshClose{"x"}));
  EXPECT_FALSE(is_sent(SshTunnel{uuid, localhost(80), "", ""}));
  EXPECT_FALSE(is_sent(SshTunnel{uuid, localhost(80), "/a", "b"}));
  EXPECT_FALSE(is_sent(SshTunnel{uuid, localhost(80), "@abstract", ""}));
  EXPECT_FALSE(is_sent(SshTunnel{uuid, localhost(80), "/" + std::string(107, 'p'), ""}));
  EXPECT_FALSE(is_sent(SshState{uuid, SshPhase::up, "\x1b[2J"}));
  EXPECT_FALSE(is_sent(SshRefused{uuid, localhost(80), std::string(1025, 'x')}));
}

// Numbers that no encoder writes. header 8, uuid 2 + 36
TEST(SshWire, OutOfRangeNumbersAreRejected) {
  const auto rejected = [](SshMessage message, std::size_t at, std::uint8_t value) {
    auto bytes = encode_ssh_message(std::move(message));
    bytes.at(at) = value;
    return !decode_ssh_packet(bytes, {});
  };
  EXPECT_TRUE(rejected(SshSync{}, 4, 99)) << "kind of message";
  EXPECT_TRUE(rejected(SshClose{uuid}, 10, 'G')) << "uuid";
  EXPECT_TRUE(rejected(SshState{uuid, SshPhase::up, ""}, 46, 3)) << "phase";
  EXPECT_TRUE(rejected(SshState{uuid, SshPhase::up, "x"}, 49, 0x1b)) << "reason";
  EXPECT_TRUE(rejected(sample(), 46, 17)) << "destinations";
  const SshGuest plain{uuid, {}, "u", "", {localhost(80)}};
  // destinations 1, user 2 + 1, key 2, targets 2, kind 1
  EXPECT_TRUE(rejected(plain, 49, '-')) << "user";
  EXPECT_TRUE(rejected(plain, 52, 2)) << "targets";
  EXPECT_TRUE(rejected(plain, 53, 4)) << "targets";
  EXPECT_TRUE(rejected(plain, 54, 1)) << "kind of target";
  std::vector<Fd> fds;
  fds.emplace_back();
  EXPECT_FALSE(decode_ssh_packet(encode_ssh_message(SshSync{}), std::move(fds)));
}

TEST(SshWire, RandomDamageNeverBreaksTheDecoder) {
  std::mt19937 random(1);
  const auto whole = encode_ssh_message(sample());
  for (int round = 0; round < 5'000; ++round) {
    auto bytes = whole;
    for (unsigned i = 0; i <= random() % 3; ++i)
      bytes[random() % bytes.size()] = static_cast<std::uint8_t>(random());
    const auto messages = decode_ssh_packet(bytes, {});
    if (!messages) continue;
    // What is taken can be said again, in the same words.
    std::vector<std::uint8_t> again;
    for (const SshMessage& message : *messages) {
      const auto said = encode_ssh_message(message);
      EXPECT_FALSE(said.empty());
      again.insert(again.end(), said.begin(), said.end());
    }
    EXPECT_EQ(again, bytes);
  }
}

}  // namespace
}  // namespace vf
