// SPDX-License-Identifier: LGPL-2.1-or-later

#include "guest/server.h"

#include <linux/vm_sockets.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <random>
#include <thread>

#include "agent_lab.h"
#include "base/relay_endpoint.h"

namespace vf::guest {
namespace {

using std::chrono::milliseconds;

TEST(GuestPeer, OnlyCid2IsTheHost) {
  sockaddr_vm address{};
  address.svm_family = AF_VSOCK;
  for (const unsigned cid : {0u, 1u, 3u, 4711u, VMADDR_CID_ANY}) {
    address.svm_cid = cid;
    EXPECT_FALSE(peer_from(address).host) << cid;
  }
  address.svm_cid = 2;
  address.svm_port = 1023;
  EXPECT_TRUE(peer_from(address).host);
  EXPECT_TRUE(peer_from(address).privileged);
  address.svm_port = 1024;
  EXPECT_TRUE(peer_from(address).host);
  EXPECT_FALSE(peer_from(address).privileged);
}

TEST(GuestServer, HandsOutItsTokenOnControl) {
  const AgentThread agent;
  const ControlClient control(agent);
  EXPECT_EQ(control.reply.status, GuestStatus::ok);
  EXPECT_EQ(control.hello.token, agent.token);
  EXPECT_EQ(control.hello.program, "virt-forward-guest " VF_VERSION);
}

TEST(GuestServer, TokensDiffer) {
  EXPECT_NE(*make_token(), *make_token());
}

// Connects as a user that is not root: in this thread alone.
GuestReply control_as_nobody(const AgentThread& agent) {
  EXPECT_EQ(syscall(SYS_setresuid, -1, 65534, -1), 0);
  Fd stream = agent.connect();
  EXPECT_EQ(syscall(SYS_setresuid, -1, 0, -1), 0);
  send_all(stream, encode(GuestRequest{}));
  return reply_from(stream);
}

TEST(GuestServer, WhoIsNotPrivilegedGetsNoTokenUnlessTheGuestSaysSo) {
  if (getuid() != 0) GTEST_SKIP() << "only root can be somebody else";
  const AgentThread agent;
  EXPECT_EQ(control_as_nobody(agent).status, GuestStatus::not_privileged);
  const AgentThread open(parsed("control-from = any-port"));
  EXPECT_EQ(control_as_nobody(open).status, GuestStatus::ok);
}

TEST(GuestServer, AWrongTokenIsAReply) {
  const AgentThread agent;
  const TestListener service;
  for (const std::size_t at : {0, 7, 15}) {
    GuestRequest request = to_port(agent, service.port);
    request.token[at] ^= 1;
    const Asked asked = ask(agent, request, "early");
    EXPECT_EQ(asked.reply.status, GuestStatus::wrong_token);
    EXPECT_TRUE(ending_of(asked.stream).ended);
  }
  GuestRequest none = to_port(agent, service.port, GuestService::datagrams);
  none.token = {};
  EXPECT_EQ(ask(agent, none).reply.status, GuestStatus::wrong_token);
}

TEST(GuestServer, AnotherVersionAndWhatIsNoRequestAreReplies) {
  const AgentThread agent;
  GuestRequest request = to_port(agent, 80);
  request.version = 2;
  Asked asked = ask(agent, request);
  EXPECT_EQ(asked.reply.status, GuestStatus::version);
  EXPECT_EQ(asked.reply.version, 1);

  Fd stream = agent.connect();
  send_text(stream, std::string(GuestRequest::bytes, 'x'));
  EXPECT_EQ(reply_from(stream).status, GuestStatus::malformed);
  EXPECT_TRUE(ending_of(stream).ended);
}

TEST(GuestServer, ASlowRequestEnds) {
  Limits limits;
  limits.request_timeout = milliseconds(50);
  const AgentThread agent({}, limits);
  const Fd stream = agent.connect();
  send_text(stream, "VFGUEST");
  const Ending ending = ending_of(stream);
  EXPECT_TRUE(ending.ended || ending.error_number == ECONNRESET);
}

TEST(GuestServer, TheEldestOfTooManyRequestsEnds) {
  Limits limits;
  limits.requests = 4;
  const AgentThread agent({}, limits);
  std::vector<Fd> silent;
  for (int at = 0; at < 5; ++at)
    silent.push_back(agent.connect());
  EXPECT_TRUE(ending_of(silent[0]).ended);
  // The others are still heard.
  send_text(silent[4], std::string(GuestRequest::bytes, 'x'));
  EXPECT_EQ(reply_from(silent[4]).status, GuestStatus::malformed);
}

TEST(GuestServer, TooManySessionsAreBusy) {
  Limits limits;
  limits.control_sessions = 2;
  limits.sessions = 1;
  const AgentThread agent({}, limits);
  const TestListener service;
  const ControlClient first(agent);
  const ControlClient second(agent);
  EXPECT_EQ(second.reply.status, GuestStatus::ok);
  EXPECT_EQ(ControlClient(agent).reply.status, GuestStatus::busy);
  Asked one = ask(agent, to_port(agent, service.port));
  EXPECT_EQ(one.reply.status, GuestStatus::ok);
  EXPECT_EQ(ask(agent, to_port(agent, service.port)).reply.status, GuestStatus::busy);
  // One that ends makes room.
  one.stream.reset();
  const Fd accepted = service.accept();
  EXPECT_TRUE(ending_of(accepted).reset);
  EXPECT_EQ(ask(agent, to_port(agent, service.port)).reply.status, GuestStatus::ok);
}

TEST(GuestStream, EarlyBytesArriveAndHalfClosedStaysHalfClosed) {
  const AgentThread agent;
  const TestListener service;
  const Asked asked = ask(agent, to_port(agent, service.port), "early ");
  ASSERT_EQ(asked.reply.status, GuestStatus::ok);
  const Fd guest = service.accept();
  send_text(asked.stream, "late");
  EXPECT_EQ(receive(guest, 10), "early late");
  shutdown(asked.stream.get(), SHUT_WR);
  EXPECT_EQ(receive(guest, 1), "");
  send_text(guest, "answer");
  EXPECT_EQ(receive(asked.stream, 6), "answer");
  shutdown(guest.get(), SHUT_WR);
  EXPECT_TRUE(ending_of(asked.stream).ended);
}

TEST(GuestStream, TheGuestMayEndFirst) {
  const AgentThread agent;
  const TestListener service;
  const Asked asked = ask(agent, to_port(agent, service.port));
  const Fd guest = service.accept();
  send_text(guest, "banner");
  shutdown(guest.get(), SHUT_WR);
  EXPECT_EQ(receive(asked.stream, 7), "banner");
  const Ending ending = ending_of(asked.stream);
  EXPECT_TRUE(ending.ended);
  EXPECT_FALSE(ending.reset);
  send_text(asked.stream, "still");
  EXPECT_EQ(receive(guest, 5), "still");
  shutdown(asked.stream.get(), SHUT_WR);
  EXPECT_EQ(receive(guest, 1), "");
}

TEST(GuestStream, AResetOfTheHostIsAReset) {
  const AgentThread agent;
  const TestListener service;
  Asked asked = ask(agent, to_port(agent, service.port), "before");
  const Fd guest = service.accept();
  EXPECT_EQ(receive(guest, 6), "before");
  asked.stream.reset();  // without shutdown()
  const Ending ending = ending_of(guest);
  EXPECT_FALSE(ending.ended);
  EXPECT_EQ(ending.error_number, ECONNRESET);
}

TEST(GuestStream, AResetOfTheGuestIsAReset) {
  const AgentThread agent;
  const TestListener service;
  const Asked asked = ask(agent, to_port(agent, service.port));
  Fd guest = service.accept();
  const linger now{1, 0};
  setsockopt(guest.get(), SOL_SOCKET, SO_LINGER, &now, sizeof now);
  guest.reset();
  const Ending ending = ending_of(asked.stream);
  EXPECT_TRUE(ending.reset);
}

TEST(GuestStream, MuchGoesBothWaysAndASlowReaderStopsItsSender) {
  const AgentThread agent;
  const TestListener service;
  const Asked asked = ask(agent, to_port(agent, service.port));
  const Fd guest = service.accept();
  std::string bytes(16 << 20, '\0');
  std::mt19937 random(1);
  for (char& byte : bytes)
    byte = static_cast<char>(random());
  std::thread echo([&] {
    for (std::string part; !(part = receive(guest, 100'000)).empty();)
      send_text(guest, part);
    shutdown(guest.get(), SHUT_WR);
  });
  std::thread sender([&] {
    send_text(asked.stream, bytes);
    shutdown(asked.stream.get(), SHUT_WR);
  });
  EXPECT_EQ(receive(asked.stream, bytes.size()), bytes);
  EXPECT_TRUE(ending_of(asked.stream).ended);
  sender.join();
  echo.join();
}

TEST(GuestStream, LocalhostIsIpv6WhereNobodyListensOnIpv4) {
  const AgentThread agent;
  const TestListener service("::1");
  EXPECT_EQ(ask(agent, to_port(agent, service.port)).reply.status, GuestStatus::ok);
  EXPECT_TRUE(service.accept());
}

TEST(GuestStream, ARefusalComesWithItsErrno) {
  const AgentThread agent;
  const TestListener closed("127.0.0.1", false);
  const Asked asked = ask(agent, to_port(agent, closed.port));
  EXPECT_EQ(asked.reply.status, GuestStatus::unreachable);
  EXPECT_EQ(asked.reply.error_number, ECONNREFUSED);
  EXPECT_TRUE(ending_of(asked.stream).ended);
}

TEST(GuestStream, OnlyTheGuestsOwnAddresses) {
  const AgentThread agent;
  const TestListener service;
  GuestRequest request = to_port(agent, service.port);
  request.target.address = IpAddress::v4({127, 0, 0, 1});
  EXPECT_EQ(ask(agent, request).reply.status, GuestStatus::ok);
  for (const char* const other : {"192.0.2.1", "255.255.255.255", "224.0.0.1", "2001:db8::1",
                                  "::ffff:192.0.2.1", "fe80::1:2:3:4", "ff02::1"}) {
    request.target.address = IpAddress::parse(other);
    const Asked asked = ask(agent, request);
    EXPECT_EQ(asked.reply.status, GuestStatus::unreachable) << other;
    EXPECT_EQ(asked.reply.error_number, EADDRNOTAVAIL) << other;
    request.service = GuestService::datagrams;
    EXPECT_EQ(ask(agent, request).reply.status, GuestStatus::unreachable) << other;
    request.service = GuestService::stream;
  }
}

TEST(GuestStream, TheAdministratorHasTheLastWord) {
  const TestListener service;
  const TestListener other;
  const std::string port = std::to_string(service.port);
  AgentThread agent(parsed("deny = 127.0.0.1:" + port + ", [::1]:" + port));
  GuestRequest request = to_port(agent, service.port);
  EXPECT_EQ(ask(agent, request).reply.status, GuestStatus::denied);
  // By another spelling.
  request.target.address = IpAddress::parse("::ffff:127.0.0.1");
  EXPECT_EQ(ask(agent, request).reply.status, GuestStatus::denied);

  // What stands is cut when it is denied.
  const Asked asked = ask(agent, to_port(agent, other.port));
  ASSERT_EQ(asked.reply.status, GuestStatus::ok);
  const Fd guest = other.accept();
  agent.configure(parsed("deny = " + std::to_string(other.port)));
  EXPECT_TRUE(ending_of(asked.stream).reset);
  EXPECT_EQ(ending_of(guest).error_number, ECONNRESET);
}

class GuestPath : public testing::Test {
 protected:
  void SetUp() override {
    char folder[] = "/tmp/vf-guest-XXXXXX";
    ASSERT_NE(mkdtemp(folder), nullptr);
    folder_ = folder;
  }
  void TearDown() override { std::filesystem::remove_all(folder_); }
  Fd listen_at(const std::string& path) {
    const auto address = socket_address(UnixEndpoint{path});
    Fd fd(socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
    EXPECT_EQ(bind(fd.get(), address->get(), address->length), 0);
    EXPECT_EQ(listen(fd.get(), 1), 0);
    return fd;
  }
  std::string folder_;
};

TEST_F(GuestPath, UnixSocketsAreReached) {
  const AgentThread agent;
  const Fd service = listen_at(folder_ + "/a.sock");
  const Asked asked = ask(agent, to_path(agent, folder_ + "/a.sock"), "to a path");
  ASSERT_EQ(asked.reply.status, GuestStatus::ok);
  Fd guest(accept(service.get(), nullptr, nullptr));
  EXPECT_EQ(receive(guest, 9), "to a path");
  send_text(guest, "bye");
  guest.reset();  // the usual end of a unix socket
  EXPECT_EQ(receive(asked.stream, 3), "bye");
  const Ending ending = ending_of(asked.stream);
  EXPECT_TRUE(ending.ended);
  EXPECT_FALSE(ending.reset);
  EXPECT_EQ(ask(agent, to_path(agent, folder_ + "/b.sock")).reply.error_number, ENOENT);
}

TEST_F(GuestPath, ADeniedPathIsDeniedByEveryWay) {
  const AgentThread agent(parsed("deny = " + folder_ + "/*.sock"));
  const Fd service = listen_at(folder_ + "/a.sock");
  std::filesystem::create_symlink(folder_ + "/a.sock", folder_ + "/link");
  std::filesystem::create_directory(folder_ + "/sub");
  for (const char* const way : {"/a.sock", "/link", "/sub/../a.sock", "//a.sock"})
    EXPECT_EQ(ask(agent, to_path(agent, folder_ + way)).reply.status, GuestStatus::denied) << way;
  const Fd other = listen_at(folder_ + "/a.socket");
  EXPECT_EQ(ask(agent, to_path(agent, folder_ + "/a.socket")).reply.status, GuestStatus::ok);
}

class GuestDatagrams : public testing::Test {
 protected:
  void bind_to(const char* address) {
    const auto local = SocketAddress::from(*IpAddress::parse(address), std::nullopt);
    service.reset(socket(local.storage.ss_family, SOCK_DGRAM | SOCK_CLOEXEC, 0));
    const timeval patience{8, 0};
    setsockopt(service.get(), SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
    ASSERT_EQ(bind(service.get(), local.get(), local.length), 0);
    SocketAddress bound;
    bound.length = sizeof bound.storage;
    ASSERT_EQ(getsockname(service.get(), bound.get(), &bound.length), 0);
    port = bound.endpoint()->port.number();
  }
  std::string datagram(SocketAddress* from = nullptr) const {
    std::string bytes(70'000, '\0');
    SocketAddress sender;
    sender.length = sizeof sender.storage;
    const ssize_t got =
        recvfrom(service.get(), bytes.data(), bytes.size(), 0, sender.get(), &sender.length);
    if (got < 0) return "nothing";
    bytes.resize(static_cast<std::size_t>(got));
    if (from) *from = sender;
    return bytes;
  }
  static std::string framed(const std::string& bytes) {
    std::string frame = {static_cast<char>(bytes.size()), static_cast<char>(bytes.size() >> 8)};
    return frame += bytes;
  }
  Fd service;
  std::uint16_t port = 0;
};

TEST_F(GuestDatagrams, GoBothWaysWhereverTheStreamIsCut) {
  bind_to("127.0.0.1");
  const AgentThread agent;
  const Asked asked = ask(agent, to_port(agent, port, GuestService::datagrams), framed("early"));
  ASSERT_EQ(asked.reply.status, GuestStatus::ok);
  SocketAddress client;
  EXPECT_EQ(datagram(&client), "early");
  const std::string large(60'000, 'l');
  for (const char byte : framed("byte by byte"))
    send_text(asked.stream, {byte});
  send_text(asked.stream, framed("") + framed(large) + framed("end"));
  EXPECT_EQ(datagram(), "byte by byte");
  EXPECT_EQ(datagram(), "");
  EXPECT_EQ(datagram(), large);
  EXPECT_EQ(datagram(), "end");
  for (const std::string& answer : {std::string("answer"), std::string(), large})
    ASSERT_EQ(sendto(service.get(), answer.data(), answer.size(), 0, client.get(), client.length),
              static_cast<ssize_t>(answer.size()));
  const std::string expected = framed("answer") + framed("") + framed(large);
  EXPECT_EQ(receive(asked.stream, expected.size()), expected);
}

TEST_F(GuestDatagrams, LocalhostIsIpv6WhereNobodyIsBoundOnIpv4) {
  bind_to("::1");
  const AgentThread agent;
  const Asked asked = ask(agent, to_port(agent, port, GuestService::datagrams), framed("first"));
  EXPECT_EQ(datagram(), "first");
  send_text(asked.stream, framed("second"));
  EXPECT_EQ(datagram(), "second");
}

TEST_F(GuestDatagrams, ARefusalEndsNothingAndALengthThatCannotBeDoes) {
  bind_to("127.0.0.1");
  service.reset();
  const AgentThread agent;
  const Asked asked = ask(agent, to_port(agent, port, GuestService::datagrams));
  for (int at = 0; at < 3; ++at)
    send_text(asked.stream, framed("nobody"));
  send_text(asked.stream, "\xff\xff");
  EXPECT_TRUE(ending_of(asked.stream).ended);
}

TEST_F(GuestDatagrams, ADeniedPortIsDenied) {
  bind_to("127.0.0.1");
  const AgentThread agent(parsed("deny = " + std::to_string(port) + "/udp"));
  EXPECT_EQ(ask(agent, to_port(agent, port, GuestService::datagrams)).reply.status,
            GuestStatus::denied);
}

}  // namespace
}  // namespace vf::guest
