// SPDX-License-Identifier: LGPL-2.1-or-later
//
// Datagrams that a guest's agent carries on. Its vsock socket is a unix socket here.

#include <fcntl.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <string>
#include <utility>

#include "base/listening_socket.h"
#include "loopback.h"
#include "relay/forward.h"
#include "relay_thread.h"
#include "wire/guest.h"

namespace vf {
namespace {

using namespace test;

const GuestToken token{1, 2, 3};

class AgentDatagrams : public testing::Test {
 protected:
  AgentDatagrams() {
    static std::atomic<int> count{0};
    agent_.path =
        "@agent-datagrams-test-" + std::to_string(getpid()) + '-' + std::to_string(++count);
    auto listening = listen_abstract(agent_);
    listening_ = std::move(std::get<Fd>(listening));
    fcntl(listening_.get(), F_SETFL, 0);
    set_deadline(listening_.get());

    RelayForward forward{"uuid/a", {{AgentEndpoint{{}, Port::from(53), {}}}}};
    forward.protocol = RelayProtocol::datagram;
    Fd socket = bound(host_);
    share_ = relay_.serve(std::move(forward), std::move(socket));
    share_->domain->agent.open(agent_, token, {});
  }

  static Fd bound(Endpoint& where) {
    Fd fd(socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0));
    const auto address = SocketAddress::from(IpAddress::loopback4(), std::nullopt);
    EXPECT_EQ(bind(fd.get(), address.get(), address.length), 0);
    where = local_endpoint(fd.get());
    return fd;
  }
  Fd client() {
    Fd fd(socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0));
    set_deadline(fd.get());
    const auto address = SocketAddress::from(host_.address, host_.port);
    EXPECT_EQ(connect(fd.get(), address.get(), address.length), 0);
    return fd;
  }
  static void say(const Fd& fd, const std::string& datagram) {
    EXPECT_EQ(send(fd.get(), datagram.data(), datagram.size(), 0),
              static_cast<ssize_t>(datagram.size()));
  }
  static std::string hear(const Fd& fd) {
    std::string datagram(70'000, '\0');
    const ssize_t got = recv(fd.get(), datagram.data(), datagram.size(), 0);
    datagram.resize(got < 0 ? 0 : static_cast<std::size_t>(got));
    return got < 0 ? "nothing" : datagram;
  }
  Fd asked() {
    Fd link = accepted_socket(listening_);
    const std::string bytes = receive(link, GuestRequest::bytes);
    std::array<std::uint8_t, GuestRequest::bytes> raw{};
    std::ranges::copy(bytes, raw.begin());
    const auto request = decode_guest_request(raw);
    EXPECT_TRUE(request && request->service == GuestService::datagrams && request->token == token);
    return link;
  }
  static void answer(const Fd& link, GuestStatus status = GuestStatus::ok, int error_number = 0) {
    GuestReply reply;
    reply.status = status;
    reply.error_number = error_number;
    const auto bytes = encode(reply);
    EXPECT_TRUE(send_all(link, std::string(bytes.begin(), bytes.end())));
  }
  static std::string framed(const std::string& datagram) {
    return std::string{static_cast<char>(datagram.size()),
                       static_cast<char>(datagram.size() >> 8)} +
           datagram;
  }

  UnixEndpoint agent_;
  Fd listening_;
  Endpoint host_{IpAddress::loopback4(), *Port::from(1)};
  std::shared_ptr<ForwardShare> share_;
  RelayThread relay_;
};

TEST_F(AgentDatagrams, EachClientHasAStreamAndEachDatagramItsLength) {
  const Fd one = client();
  say(one, "question");
  const Fd link = asked();
  EXPECT_EQ(receive(link, 10), framed("question")) << "it does not wait for the answer";
  answer(link);
  say(one, "");
  say(one, std::string(60'000, 'l'));
  EXPECT_EQ(receive(link, 2 + 60'002), framed("") + framed(std::string(60'000, 'l')));

  const Fd other = client();
  say(other, "other");
  const Fd other_link = asked();
  answer(other_link);
  EXPECT_EQ(receive(other_link, 7), framed("other"));

  EXPECT_TRUE(send_all(link, framed("answer") + framed("") + framed(std::string(65'507, 'b'))));
  EXPECT_EQ(hear(one), "answer");
  EXPECT_EQ(hear(one), "");
  EXPECT_EQ(hear(one), std::string(65'507, 'b'));
  EXPECT_TRUE(send_all(other_link, framed("x")));
  EXPECT_EQ(hear(other), "x");
  ASSERT_TRUE(relay_.events.wait_for(1));
  EXPECT_EQ(relay_.events.all(), std::vector<std::string>{"proven uuid/a"});
  EXPECT_EQ(relay_.counters("uuid/a").bytes_in, 8u + 60'000u + 5u);
}

TEST_F(AgentDatagrams, LengthsAndBytesMayComeApart) {
  const Fd one = client();
  say(one, "q");
  const Fd link = asked();
  answer(link);
  const std::string all = framed("abc") + framed("defg");
  for (const char byte : all) {
    EXPECT_TRUE(send_all(link, std::string(1, byte)));
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
  }
  EXPECT_EQ(hear(one), "abc");
  EXPECT_EQ(hear(one), "defg");
}

TEST_F(AgentDatagrams, AnAgentThatGoesIsFoundAgain) {
  const Fd one = client();
  say(one, "q");
  answer(asked());
  ASSERT_TRUE(relay_.events.wait_for(1));
  EXPECT_EQ(relay_.events.all()[0], "failing uuid/a " + std::to_string(ENOTCONN));
  std::this_thread::sleep_for(std::chrono::milliseconds(300));
  say(one, "again");
  const Fd link = asked();
  EXPECT_EQ(receive(link, 7), framed("again"));
}

TEST_F(AgentDatagrams, RefusalsAndNonsenseAreTold) {
  const Fd one = client();
  say(one, "q");
  answer(asked(), GuestStatus::denied);
  ASSERT_TRUE(relay_.events.wait_for(1));
  EXPECT_EQ(relay_.events.all()[0], "failing uuid/a " + std::to_string(EACCES));
  const Fd other = client();
  say(other, "q");
  const Fd link = asked();
  answer(link);
  EXPECT_TRUE(send_all(link, "\xff\xff"));  // longer than any datagram
  ASSERT_TRUE(relay_.events.wait_for(2));
  EXPECT_EQ(relay_.events.all()[1], "failing uuid/a " + std::to_string(EPROTO));
}

// It never reads: datagrams are lost, and nothing grows.
TEST_F(AgentDatagrams, AnAgentThatNeverReadsLosesDatagrams) {
  const Fd one = client();
  say(one, "q");
  const Fd link = asked();
  answer(link);
  const std::string datagram(1000, 'd');
  for (int i = 0; i < 5000; ++i)
    send(one.get(), datagram.data(), datagram.size(), MSG_DONTWAIT);
  // What the socket took, and what is held.
  ASSERT_TRUE(relay_.eventually(
      [](ServedForwards& table, Loop&) { return table.counters().at(0).bytes_in > 100'000; }));
  EXPECT_LT(relay_.counters("uuid/a").bytes_in, 1'000'000u);
}

TEST_F(AgentDatagrams, WithoutAnAgentTheyAreLost) {
  share_->domain->agent.close(ENOTCONN);
  const Fd one = client();
  say(one, "q");
  ASSERT_TRUE(relay_.events.wait_for(1));
  EXPECT_EQ(relay_.events.all()[0], "failing uuid/a " + std::to_string(ENOTCONN));
  EXPECT_EQ(relay_.counters("uuid/a").connections, 0u);
}

}  // namespace
}  // namespace vf
