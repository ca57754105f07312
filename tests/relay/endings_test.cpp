// SPDX-License-Identifier: LGPL-2.1-or-later
//
// How connections end, each end by itself: what a direct connection would show.

#include <gtest/gtest.h>
#include <sys/socket.h>

#include <chrono>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "loopback.h"
#include "relay_program.h"

namespace vf {
namespace {

using namespace test;
using Clock = std::chrono::steady_clock;

class Endings : public testing::Test {
 protected:
  std::pair<Fd, Fd> connect() {
    Fd client = connected_socket(relay_.host());
    return {std::move(client), accepted_socket(target_)};
  }

  Fd target_ = listening_socket();
  RelayProgram relay_{{local_endpoint(target_.get())}};
};

// `first` ends its direction, then `second` its own; both still hear the other meanwhile.
void half_closes(const Fd& first, const Fd& second) {
  EXPECT_TRUE(send_all(first, "last words"));
  shutdown(first.get(), SHUT_WR);
  EXPECT_EQ(receive(second, 100), "last words");
  EXPECT_EQ(ending(second), 0);
  EXPECT_TRUE(send_all(second, "still here"));
  EXPECT_EQ(receive(first, 10), "still here");
  shutdown(second.get(), SHUT_WR);
  EXPECT_EQ(ending(first), 0);
}

TEST_F(Endings, HalfCloseIsCarriedOverInBothOrders) {
  for (int i = 0; i < 20; ++i) {
    const auto [client, server] = connect();
    half_closes(client, server);
  }
  for (int i = 0; i < 20; ++i) {
    const auto [client, server] = connect();
    half_closes(server, client);
  }
  relay_.stop();
}

TEST_F(Endings, HalfCloseBehindMuchThatIsNotRead) {
  const auto [client, server] = connect();
  const std::string much(20 << 20, 'x');
  std::thread sender([&client = client, &much] {
    EXPECT_TRUE(send_all(client, much));
    shutdown(client.get(), SHUT_WR);
  });
  EXPECT_TRUE(send_all(server, "answer"));
  EXPECT_EQ(receive(client, 6), "answer");
  EXPECT_EQ(receive(server, much.size()).size(), much.size());
  EXPECT_EQ(ending(server), 0);
  sender.join();
  EXPECT_TRUE(send_all(server, "still here"));
  EXPECT_EQ(receive(client, 10), "still here");
}

TEST_F(Endings, AResetArrivesAsOneBehindWhatWasSentBefore) {
  for (const std::size_t size : {0u, 1u, 10'000u, 60'000u})
    for (int i = 0; i < 20; ++i)
      for (const bool from_client : {true, false}) {
        auto [client, server] = connect();
        Fd& breaks = from_client ? client : server;
        const Fd& hears = from_client ? server : client;
        const std::string sent(size, 'x');
        EXPECT_TRUE(send_all(breaks, sent));
        reset(std::move(breaks));
        EXPECT_EQ(receive(hears, size).size(), size) << (from_client ? "client" : "server");
        EXPECT_EQ(ending(hears), ECONNRESET) << (from_client ? "client" : "server");
      }
}

TEST_F(Endings, AResetAfterAnEnd) {
  for (int i = 0; i < 20; ++i)
    for (const bool from_client : {true, false}) {
      auto [client, server] = connect();
      Fd& breaks = from_client ? client : server;
      const Fd& hears = from_client ? server : client;
      shutdown(hears.get(), SHUT_WR);
      EXPECT_EQ(ending(breaks), 0);
      reset(std::move(breaks));
      EXPECT_EQ(ending(hears), ECONNRESET);
    }
}

// A program that ends while something for it is unread resets, although it just closed.
TEST_F(Endings, ACloseWithUnreadBytesIsAReset) {
  for (int i = 0; i < 20; ++i) {
    auto [client, server] = connect();
    EXPECT_TRUE(send_all(client, "unread"));
    char byte;
    EXPECT_EQ(recv(server.get(), &byte, 1, MSG_PEEK), 1);
    server.reset();
    EXPECT_EQ(ending(client), ECONNRESET);
  }
}

// Perhaps before the relay has seen that it is connected.
TEST_F(Endings, AServerThatHangsUpAtOnceIsHeard) {
  constexpr int count = 500;
  std::thread server([&] {
    for (int i = 0; i < count; ++i) {
      Fd accepted = accepted_socket(target_);
      EXPECT_TRUE(send_all(accepted, "sorry"));
      reset(std::move(accepted));
    }
  });
  int heard = 0;
  for (int i = 0; i < count; ++i) {
    const Fd client = connected_socket(relay_.host());
    heard += receive(client, 5) == "sorry";
    EXPECT_EQ(ending(client), ECONNRESET);
  }
  server.join();
  EXPECT_EQ(heard, count);
}

// As `echo request | nc -N`.
TEST_F(Endings, AnEndRightAfterTheRequestIsNoFarewell) {
  for (int i = 0; i < 100; ++i) {
    const Fd client = connected_socket(relay_.host());
    EXPECT_TRUE(send_all(client, "request"));
    shutdown(client.get(), SHUT_WR);
    const Fd server = accepted_socket(target_);
    EXPECT_EQ(receive(server, 100), "request");
    EXPECT_TRUE(send_all(server, "response"));
    EXPECT_EQ(receive(client, 8), "response");
  }
}

TEST_F(Endings, ARefusalIsAResetAtOnce) {
  target_.reset();
  const auto began = Clock::now();
  for (int i = 0; i < 20; ++i) {
    const Fd client = connected_socket(relay_.host());
    EXPECT_TRUE(!client || ending(client) == ECONNRESET);
  }
  EXPECT_LT(Clock::now() - began, std::chrono::seconds(2));
}

// A full queue of connections that nobody accepts drops what comes.
TEST(Silence, OfTheTargetIsAResetAfterFiveSeconds) {
  const Fd target = listening_socket(0);
  const Endpoint address = local_endpoint(target.get());
  const Fd fills = connected_socket(address);
  RelayProgram relay({address});
  const auto began = Clock::now();
  const Fd client = connected_socket(relay.host());
  EXPECT_TRUE(send_all(client, "is anybody there"));
  EXPECT_EQ(ending(client), ECONNRESET);
  const auto took = Clock::now() - began;
  EXPECT_GT(took, std::chrono::seconds(4));
  EXPECT_LT(took, std::chrono::seconds(7));
}

}  // namespace
}  // namespace vf
