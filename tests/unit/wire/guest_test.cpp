// SPDX-License-Identifier: LGPL-2.1-or-later

#include "wire/guest.h"

#include <gtest/gtest.h>

#include <string>
#include <utility>
#include <vector>

namespace vf {
namespace {

using RequestBytes = std::array<std::uint8_t, GuestRequest::bytes>;
using ReplyBytes = std::array<std::uint8_t, GuestReply::bytes>;

constexpr GuestToken some_token = {1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16};
const IpAddress documentation6 =
    IpAddress::v6({0x20, 0x01, 0x0d, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 9});

GuestRequest to(AgentEndpoint target, GuestService service = GuestService::stream) {
  GuestRequest request;
  request.service = service;
  request.token = some_token;
  request.target = std::move(target);
  return request;
}

AgentEndpoint localhost(std::uint16_t port) {
  return AgentEndpoint{std::nullopt, Port::from(port), ""};
}

std::vector<GuestRequest> every_request() {
  GuestRequest control;
  control.flags = guest_wants_udp;
  return {control,
          to(localhost(80)),
          to({IpAddress::v4({192, 168, 122, 7}), Port::from(65535), ""}),
          to({documentation6, Port::from(1), ""}),
          to({std::nullopt, std::nullopt, "/run/web.sock"}),
          to({std::nullopt, std::nullopt, "/" + std::string(106, 'x')}),
          to(localhost(53), GuestService::datagrams),
          to({documentation6, Port::from(53), ""}, GuestService::datagrams)};
}

TEST(GuestRequestWire, EveryRequestComesBackAsItWas) {
  for (const GuestRequest& request : every_request()) {
    const auto decoded = decode_guest_request(encode(request));
    ASSERT_TRUE(decoded) << decoded.error().message;
    EXPECT_EQ(*decoded, request);
  }
}

// The layout that contrib/doc/guest-protocol.md promises for ever.
TEST(GuestRequestWire, BytesAreWhereTheProtocolHasThem) {
  GuestRequest request = to({IpAddress::v4({10, 1, 2, 3}), Port::from(0x1234), ""});
  request.flags = 0x0201;
  RequestBytes expected{};
  const std::string magic("VFGUEST\x1a");
  std::copy(magic.begin(), magic.end(), expected.begin());
  expected[8] = 1;
  expected[10] = 2;
  expected[11] = 2;
  expected[12] = 0x01;
  expected[13] = 0x02;
  expected[14] = 0x34;
  expected[15] = 0x12;
  for (std::uint8_t at = 0; at < 16; ++at)
    expected[16u + at] = static_cast<std::uint8_t>(at + 1);
  expected[32] = 10;
  expected[33] = 1;
  expected[34] = 2;
  expected[35] = 3;
  EXPECT_EQ(encode(request), expected);

  const auto path = encode(to({std::nullopt, std::nullopt, "/a"}));
  EXPECT_EQ(path[11], 4);
  EXPECT_EQ(path[48], '/');
  EXPECT_EQ(path[49], 'a');
}

TEST(GuestRequestWire, ALaterVersionIsDecodedAsFarAsItsVersion) {
  RequestBytes bytes;
  bytes.fill(0xff);
  const RequestBytes own = encode(GuestRequest{});
  std::copy_n(own.begin(), 8, bytes.begin());
  bytes[8] = 2;
  bytes[9] = 0;
  const auto decoded = decode_guest_request(bytes);
  ASSERT_TRUE(decoded);
  EXPECT_EQ(decoded->version, 2);
  EXPECT_EQ(decoded->token, GuestToken{});
}

struct Damage {
  const char* what;
  GuestRequest request;
  std::size_t at;
  std::uint8_t value;
};

TEST(GuestRequestWire, WhatNoHostSendsIsRefused) {
  const AgentEndpoint inet4{IpAddress::v4({10, 0, 0, 1}), Port::from(80), ""};
  const AgentEndpoint path{std::nullopt, std::nullopt, "/run/a.sock"};
  const std::vector<Damage> damages = {
      {"first byte of the magic", to(localhost(80)), 0, 'G'},
      {"last byte of the magic", to(localhost(80)), 7, 0},
      {"version 0", to(localhost(80)), 8, 0},
      {"service 0", to(localhost(80)), 10, 0},
      {"service 4", to(localhost(80)), 10, 4},
      {"unknown target", to(localhost(80)), 11, 5},
      {"stream without target", to(path), 11, 0},
      {"stream to nothing", to(localhost(80)), 11, 0},
      {"control with a port", to(localhost(80)), 10, 1},
      {"control with a path", to(path), 10, 1},
      {"control with port number alone", GuestRequest{}, 14, 1},
      {"control with an address", GuestRequest{}, 32, 1},
      {"datagrams to a path", to(path), 10, 3},
      {"path and port", to(path), 14, 1},
      {"path and address", to(path), 40, 1},
      {"port and path", to(localhost(80)), 48, '/'},
      {"localhost and address", to(localhost(80)), 32, 1},
      {"IPv4 with a fifth byte", to(inet4), 36, 1},
      {"relative path", to(path), 48, 'r'},
      {"empty path", to(path), 48, 0},
      {"bytes behind the path's end", to(path), 155, 'x'},
      {"reserved", to(localhost(80)), 156, 1},
      {"reserved, last", to(localhost(80)), 159, 1},
  };
  for (const Damage& damage : damages) {
    RequestBytes bytes = encode(damage.request);
    ASSERT_TRUE(decode_guest_request(bytes)) << damage.what;
    bytes[damage.at] = damage.value;
    EXPECT_FALSE(decode_guest_request(bytes)) << damage.what;
  }
}

TEST(GuestRequestWire, PortZeroAndAPathWithoutEndAreRefused) {
  RequestBytes bytes = encode(to(localhost(80)));
  bytes[14] = bytes[15] = 0;
  EXPECT_FALSE(decode_guest_request(bytes));

  bytes = encode(to({std::nullopt, std::nullopt, "/" + std::string(106, 'x')}));
  ASSERT_TRUE(decode_guest_request(bytes));
  bytes[155] = 'x';
  EXPECT_FALSE(decode_guest_request(bytes));
}

TEST(GuestRequestWire, OneByteChangedIsRefusedOrAnotherRequestThatEncodesToIt) {
  for (const GuestRequest& request : every_request())
    for (std::size_t at = 0; at < GuestRequest::bytes; ++at)
      for (const int delta : {1, 0x80, 0xff}) {
        RequestBytes bytes = encode(request);
        bytes[at] = static_cast<std::uint8_t>(bytes[at] + delta);
        const auto decoded = decode_guest_request(bytes);
        if (!decoded || decoded->version != 1) continue;
        EXPECT_EQ(encode(*decoded), bytes) << at;
      }
}

TEST(GuestReplyWire, EveryReplyComesBackAsItWas) {
  for (std::uint16_t status = 0; status <= 7; ++status) {
    const GuestReply reply{3, static_cast<GuestStatus>(status), 111, 0x80000001};
    const auto decoded = decode_guest_reply(encode(reply));
    ASSERT_TRUE(decoded);
    EXPECT_EQ(*decoded, reply);
  }
}

TEST(GuestReplyWire, BytesAreWhereTheProtocolHasThem) {
  const ReplyBytes expected = {'V', 'F', 'G', 0x1a, 1, 0, 6, 0, 111, 0, 0, 0, 4, 3, 2, 1};
  EXPECT_EQ(encode(GuestReply{1, GuestStatus::unreachable, 111, 0x01020304}), expected);
}

TEST(GuestReplyWire, WhatNoAgentSendsIsRefused) {
  const std::vector<std::pair<std::size_t, std::uint8_t>> damages = {
      {0, 'S'}, {3, 0}, {4, 0}, {6, 8}, {7, 1}, {9, 0x10}, {11, 0x80}};
  for (const auto& [at, value] : damages) {
    ReplyBytes bytes = encode(GuestReply{});
    bytes[at] = value;
    EXPECT_FALSE(decode_guest_reply(bytes)) << at;
  }
}

GuestListener some_listener() {
  GuestListener listener;
  listener.key = {false, IpAddress::v4({0, 0, 0, 0}), *Port::from(8080)};
  listener.pid = 4711;
  listener.uid = 4294967295;
  listener.name = "node";
  listener.command = "node server.js --port 8080";
  listener.container = "docker-0123456789ab.scope";
  return listener;
}

std::vector<GuestFrame> every_frame() {
  GuestListener full = some_listener();
  full.key = {true, documentation6, *Port::from(65535)};
  full.name = std::string(GuestListener::max_name_bytes, 'n');
  full.command = std::string(GuestListener::max_command_bytes, 'c');
  full.container = std::string(GuestListener::max_container_bytes, 'g');
  GuestListener empty;
  empty.key = {false, IpAddress::loopback6(), *Port::from(1)};
  return {GuestHello{some_token, 1000, "virt-forward-guest 0.1.0"},
          GuestHello{some_token, 0, ""},
          GuestListens{some_listener()},
          GuestListens{full},
          GuestListens{empty},
          GuestGone{full.key},
          GuestGone{some_listener().key},
          GuestSnapshotEnd{0},
          GuestSnapshotEnd{4294967295},
          GuestWants{guest_wants_udp}};
}

Result<std::optional<GuestFrame>> only_frame(std::span<const std::uint8_t> bytes) {
  GuestFrameReader reader;
  reader.push(bytes);
  return reader.next();
}

TEST(GuestFrames, EveryFrameComesBackAsItWas) {
  for (const GuestFrame& frame : every_frame()) {
    const auto decoded = only_frame(encode(frame));
    ASSERT_TRUE(decoded && *decoded);
    EXPECT_EQ(**decoded, frame);
  }
}

TEST(GuestFrames, BytesAreWhereTheProtocolHasThem) {
  GuestListener listener;
  listener.key = {true, IpAddress::v4({10, 0, 0, 1}), *Port::from(0x1234)};
  listener.pid = 0x01020304;
  listener.uid = 0x05060708;
  listener.name = "a";
  listener.command = "bc";
  listener.container = "def";
  const std::vector<std::uint8_t> expected = {2,  0, 39,   0,  // header
                                              17, 4, 0x34, 0x12, 10, 0,   0,   1,   0,   0,   0,
                                              0,  0, 0,    0,    0,  0,   0,   0,   0,  // key
                                              4,  3, 2,    1,    8,  7,   6,   5,       // pid, uid
                                              1,  2, 0,    3,    0,  'a', 'b', 'c', 'd', 'e', 'f'};
  EXPECT_EQ(encode(GuestListens{listener}), expected);
  EXPECT_EQ(encode(GuestWants{1}), (std::vector<std::uint8_t>{5, 0, 2, 0, 1, 0}));
  EXPECT_EQ(encode(GuestSnapshotEnd{2}), (std::vector<std::uint8_t>{4, 0, 4, 0, 2, 0, 0, 0}));
}

TEST(GuestFrames, AStreamMayBeCutAtEveryByte) {
  std::vector<std::uint8_t> stream;
  const std::vector<std::uint8_t> unknown = {200, 0, 3, 0, 1, 2, 3};
  for (const GuestFrame& frame : every_frame()) {
    const auto bytes = encode(frame);
    stream.insert(stream.end(), bytes.begin(), bytes.end());
    stream.insert(stream.end(), unknown.begin(), unknown.end());
  }
  const auto read_all = [](GuestFrameReader& reader, std::vector<GuestFrame>& frames) {
    for (;;) {
      auto frame = reader.next();
      ASSERT_TRUE(frame);
      if (!*frame) return;
      frames.push_back(**frame);
    }
  };
  for (std::size_t at = 0; at <= stream.size(); ++at) {
    GuestFrameReader reader;
    std::vector<GuestFrame> frames;
    reader.push(std::span(stream).first(at));
    read_all(reader, frames);
    reader.push(std::span(stream).subspan(at));
    read_all(reader, frames);
    ASSERT_EQ(frames, every_frame()) << at;
  }
  GuestFrameReader reader;
  std::vector<GuestFrame> frames;
  for (const std::uint8_t byte : stream) {
    reader.push({&byte, 1});
    read_all(reader, frames);
  }
  EXPECT_EQ(frames, every_frame());
}

TEST(GuestFrames, WhatNoAgentSendsIsRefused) {
  struct {
    const char* what;
    std::size_t at;
    std::uint8_t value;
  } const damages[] = {{"second byte of the header", 1, 1},     {"length over the bound", 3, 5},
                       {"neither TCP nor UDP", 4, 1},           {"family", 5, 5},
                       {"bytes behind an IPv4 address", 12, 1}, {"pid", 27, 0x80},
                       {"name longer than said", 32, 5},        {"name shorter than said", 32, 3},
                       {"command far longer", 34, 2},           {"container far longer", 36, 0xff}};
  const auto whole = encode(GuestListens{some_listener()});
  for (const auto& damage : damages) {
    auto bytes = whole;
    bytes[damage.at] = damage.value;
    EXPECT_FALSE(only_frame(bytes)) << damage.what;
  }
  auto no_port = whole;
  no_port[6] = no_port[7] = 0;
  EXPECT_FALSE(only_frame(no_port));

  auto hello = encode(GuestHello{GuestToken{}, 0, "x"});
  EXPECT_FALSE(only_frame(hello)) << "a token of zeroes";
  hello = encode(GuestHello{some_token, 3'600'001, "x"});
  EXPECT_FALSE(only_frame(hello)) << "fall-back period";
}

TEST(GuestFrames, TooShortOrTooLongAPayloadIsRefused) {
  for (const GuestFrame& frame : every_frame()) {
    auto bytes = encode(frame);
    bytes.push_back(0);
    ++bytes[2];
    if (bytes[2] == 0) ++bytes[3];
    EXPECT_FALSE(only_frame(bytes));
    for (std::size_t length = 0; length + guest_frame_header_bytes + 1 < bytes.size(); ++length) {
      auto cut =
          std::vector(bytes.begin(), bytes.begin() + static_cast<std::ptrdiff_t>(4 + length));
      cut[2] = static_cast<std::uint8_t>(length);
      cut[3] = static_cast<std::uint8_t>(length >> 8);
      EXPECT_FALSE(only_frame(cut)) << length;
    }
  }
}

TEST(GuestFrames, TextsOverTheirBoundAreRefused) {
  GuestListener listener = some_listener();
  listener.name = std::string(GuestListener::max_name_bytes, 'n');
  listener.command = "c";
  listener.container = "";
  // The command's byte is taken for the name's 65th.
  auto bytes = encode(GuestListens{listener});
  ASSERT_TRUE(only_frame(bytes));
  bytes[32] = GuestListener::max_name_bytes + 1;
  bytes[33] = 0;
  EXPECT_FALSE(only_frame(bytes));

  auto hello = encode(GuestHello{some_token, 0, std::string(GuestHello::max_program_bytes, 'x')});
  ASSERT_TRUE(only_frame(hello));
  hello.push_back('x');
  ++hello[2];
  ++hello[24];
  EXPECT_FALSE(only_frame(hello));
}

TEST(GuestFrames, AnUnknownKindIsPassedOverButBounded) {
  std::vector<std::uint8_t> bytes = {0, 0, 0x00, 0x04};
  bytes.resize(4 + 1024);
  const auto end = encode(GuestSnapshotEnd{7});
  bytes.insert(bytes.end(), end.begin(), end.end());
  auto frame = only_frame(bytes);
  ASSERT_TRUE(frame && *frame);
  EXPECT_EQ(**frame, GuestFrame(GuestSnapshotEnd{7}));

  EXPECT_FALSE(only_frame(std::vector<std::uint8_t>{0, 0, 0x01, 0x04}));
}

TEST(GuestFrames, TextsAreCutBetweenCharacters) {
  GuestListener listener = some_listener();
  listener.name = std::string(GuestListener::max_name_bytes - 1, 'n') + "\u00e9";
  listener.command = std::string(100'000, 'c');
  listener.container = std::string(100'000, 'g');
  const auto decoded = only_frame(encode(GuestListens{listener}));
  ASSERT_TRUE(decoded && *decoded);
  const GuestListener& cut = std::get<GuestListens>(**decoded).listener;
  EXPECT_EQ(cut.name, std::string(GuestListener::max_name_bytes - 1, 'n'));
  EXPECT_EQ(cut.command.size(), GuestListener::max_command_bytes);
  EXPECT_EQ(cut.container.size(), GuestListener::max_container_bytes);
}

TEST(GuestFrames, TextsAreMadePrintableWithinTheirBound) {
  GuestListener listener = some_listener();
  listener.name = "\x1b]0;x\x07";
  listener.command = std::string(GuestListener::max_command_bytes, '\x1b');
  listener.container = "a\nb";
  auto decoded = only_frame(encode(GuestListens{listener}));
  ASSERT_TRUE(decoded && *decoded);
  const GuestListener& shown = std::get<GuestListens>(**decoded).listener;
  EXPECT_EQ(shown.name, "\\x1b]0;x\\x07");
  EXPECT_LE(shown.command.size(), GuestListener::max_command_bytes);
  EXPECT_EQ(shown.command.find('\x1b'), std::string::npos);
  EXPECT_EQ(shown.container, "a\\x0ab");

  decoded = only_frame(encode(GuestHello{some_token, 0,
                                         "\x9b"
                                         "2J"}));
  ASSERT_TRUE(decoded && *decoded);
  EXPECT_EQ(std::get<GuestHello>(**decoded).program, "\\x9b2J");
}

}  // namespace
}  // namespace vf
