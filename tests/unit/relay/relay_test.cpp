// SPDX-License-Identifier: LGPL-2.1-or-later
//
// Forwards on real loopback sockets.

#include <gtest/gtest.h>
#include <netinet/tcp.h>

#include <array>
#include <atomic>
#include <optional>
#include <random>
#include <string>
#include <thread>
#include <vector>

#include "loopback.h"
#include "relay/connection.h"
#include "relay_thread.h"

namespace vf {
namespace {

using namespace test;

// A client and its guest, joined by the relay.
struct Pair {
  Fd client;
  Fd guest;
};

class RelayTest : public testing::Test {
 protected:
  Pair join(const Endpoint& host) {
    Fd client = connected_socket(host);
    EXPECT_TRUE(client);
    return {std::move(client), accepted_socket(target_)};
  }
  Endpoint target() const { return local_endpoint(target_.get()); }
  bool no_connection_left(const std::string& key) {
    return relay_.eventually([&](ServedForwards& table, Loop&) {
      const auto all = table.counters();
      return all.size() == 1 && all[0].key == key && all[0].connections == 0;
    });
  }

  Fd target_ = listening_socket();
  RelayThread relay_;
};

TEST_F(RelayTest, CarriesBytesBothWays) {
  const Pair pair = join(relay_.add("a", {target()}));
  EXPECT_TRUE(send_all(pair.client, "question"));
  EXPECT_EQ(receive(pair.guest, 8), "question");
  EXPECT_TRUE(send_all(pair.guest, "answer"));
  EXPECT_EQ(receive(pair.client, 6), "answer");
  EXPECT_EQ(relay_.counters("a").bytes_in, 8u);
  EXPECT_EQ(relay_.counters("a").bytes_out, 6u);
}

// A socket with a full backlog does not answer, as a guest whose firewall swallows packets. The
// next client does not wait for it at all: were the first way tried again, the backlog that has
// been made empty meanwhile would take it.
TEST_F(RelayTest, AWayThatDoesNotAnswerIsPassedOver) {
  const Fd silent = listening_socket(0);
  const Fd filler = connected_socket(local_endpoint(silent.get()));
  const Endpoint host = relay_.add("a", {local_endpoint(silent.get()), target()});
  const Pair first = join(host);
  EXPECT_TRUE(send_all(first.client, "hello"));
  EXPECT_EQ(receive(first.guest, 5), "hello");
  const Fd taken = accepted_socket(silent);
  const Pair second = join(host);
  EXPECT_TRUE(send_all(second.client, "again"));
  EXPECT_EQ(receive(second.guest, 5), "again");
}

TEST_F(RelayTest, TheGuestMaySpeakFirst) {
  const Pair pair = join(relay_.add("a", {target()}));
  EXPECT_TRUE(send_all(pair.guest, "220 hello"));
  EXPECT_EQ(receive(pair.client, 9), "220 hello");
}

TEST_F(RelayTest, UrgentDataStaysInItsPlace) {
  const Endpoint host = relay_.add("a", {target()});
  for (const bool from_client : {true, false}) {
    for (const bool ends : {true, false}) {
      const Pair pair = join(host);
      const Fd& from = from_client ? pair.client : pair.guest;
      const Fd& to = from_client ? pair.guest : pair.client;
      const std::string bulk(4 << 20, 'x');
      std::thread sender([&] {
        EXPECT_TRUE(send_all(from, bulk));
        EXPECT_EQ(send(from.get(), "!", 1, MSG_OOB), 1);
        EXPECT_TRUE(send_all(from, "after"));
        if (ends) shutdown(from.get(), SHUT_WR);
      });
      const std::string got = receive(to, bulk.size() + 6);
      ASSERT_EQ(got.size(), bulk.size() + 6);
      EXPECT_EQ(got.substr(bulk.size()), "!after");
      sender.join();
    }
  }
}

TEST_F(RelayTest, HalfCloseInEitherOrder) {
  const Endpoint host = relay_.add("a", {target()});
  for (int round = 0; round < 20; ++round) {
    const Pair pair = join(host);
    const Fd& first = round % 2 ? pair.client : pair.guest;
    const Fd& second = round % 2 ? pair.guest : pair.client;
    EXPECT_TRUE(send_all(first, "last words"));
    shutdown(first.get(), SHUT_WR);
    EXPECT_EQ(receive(second, 100), "last words");
    EXPECT_EQ(ending(second), 0);
    EXPECT_TRUE(send_all(second, "still here"));
    EXPECT_EQ(receive(first, 10), "still here");
    shutdown(second.get(), SHUT_WR);
    EXPECT_EQ(ending(first), 0);
  }
  EXPECT_TRUE(no_connection_left("a"));
}

// As `echo request | nc -N`: the end is there before the guest has even answered.
TEST_F(RelayTest, AnEndBeforeTheGuestIsReachedIsNoFarewell) {
  const Endpoint host = relay_.add("a", {target()});
  const Fd client = connected_socket(host);
  EXPECT_TRUE(send_all(client, "request"));
  shutdown(client.get(), SHUT_WR);
  const Fd guest = accepted_socket(target_);
  EXPECT_EQ(receive(guest, 100), "request");
  EXPECT_TRUE(send_all(guest, "response"));
  EXPECT_EQ(receive(client, 8), "response");
}

TEST_F(RelayTest, AResetIsAReset) {
  const Endpoint host = relay_.add("a", {target()});
  {
    Pair pair = join(host);
    reset(std::move(pair.client));
    EXPECT_EQ(ending(pair.guest), ECONNRESET);
  }
  {
    Pair pair = join(host);
    EXPECT_TRUE(send_all(pair.guest, "before"));
    EXPECT_EQ(receive(pair.client, 6), "before");
    reset(std::move(pair.guest));
    EXPECT_EQ(ending(pair.client), ECONNRESET);
  }
  {
    // After one direction has ended in order.
    Pair pair = join(host);
    shutdown(pair.client.get(), SHUT_WR);
    EXPECT_EQ(ending(pair.guest), 0);
    reset(std::move(pair.guest));
    EXPECT_EQ(ending(pair.client), ECONNRESET);
  }
  EXPECT_TRUE(no_connection_left("a"));
}

TEST_F(RelayTest, ARefusingGuestResetsItsClientAndIsReportedOnceASecond) {
  const Endpoint nobody = target();
  target_.reset();
  const Endpoint host = relay_.add("a", {nobody});
  for (int i = 0; i < 50; ++i)
    EXPECT_EQ(ending_at(host), ECONNRESET);
  const auto events = relay_.events.all();
  ASSERT_GE(events.size(), 1u);
  EXPECT_LE(events.size(), 3u);
  EXPECT_EQ(events[0], "failing a " + std::to_string(ECONNREFUSED));
  EXPECT_EQ(relay_.counters("a").failures, 50u);
}

TEST_F(RelayTest, TheNextEndpointIsTried) {
  Fd nobody = listening_socket();
  const Endpoint refusing = local_endpoint(nobody.get());
  nobody.reset();
  const Pair pair = join(relay_.add("a", {refusing, target()}));
  EXPECT_TRUE(send_all(pair.client, "x"));
  EXPECT_EQ(receive(pair.guest, 1), "x");
  ASSERT_TRUE(relay_.events.wait_for(1));
  EXPECT_EQ(relay_.events.all(), std::vector<std::string>{"proven a by 1"});
}

TEST_F(RelayTest, ProvenOnceAndAgainAfterAFailure) {
  const Endpoint host = relay_.add("a", {target()});
  for (int i = 0; i < 5; ++i)
    join(host);
  ASSERT_TRUE(relay_.events.wait_for(1));
  EXPECT_EQ(relay_.events.all(), std::vector<std::string>{"proven a"});
  const Endpoint address = target();
  target_.reset();
  EXPECT_EQ(ending_at(host), ECONNRESET);
  ASSERT_TRUE(relay_.events.wait_for(2));
  target_ = Fd(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  const int yes = 1;
  setsockopt(target_.get(), SOL_SOCKET, SO_REUSEADDR, &yes, sizeof yes);
  const auto raw = SocketAddress::from(address.address, address.port);
  ASSERT_EQ(bind(target_.get(), raw.get(), raw.length), 0);
  ASSERT_EQ(listen(target_.get(), 8), 0);
  join(host);
  ASSERT_TRUE(relay_.events.wait_for(3));
  EXPECT_EQ(relay_.events.all()[2], "proven a");
}

// Found end to end: a service that ended within a second of an earlier failure was never missed.
TEST_F(RelayTest, AFailureTooSoonToBeToldIsToldWhenItsSecondIsOver) {
  const Endpoint address = target();
  target_.reset();
  const Endpoint host = relay_.add("a", {address});
  EXPECT_EQ(ending_at(host), ECONNRESET);
  ASSERT_TRUE(relay_.events.wait_for(1));
  target_ = Fd(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  const int yes = 1;
  setsockopt(target_.get(), SOL_SOCKET, SO_REUSEADDR, &yes, sizeof yes);
  const auto raw = SocketAddress::from(address.address, address.port);
  ASSERT_EQ(bind(target_.get(), raw.get(), raw.length), 0);
  ASSERT_EQ(listen(target_.get(), 8), 0);
  join(host);
  ASSERT_TRUE(relay_.events.wait_for(2));
  target_.reset();
  EXPECT_EQ(ending_at(host), ECONNRESET);
  ASSERT_TRUE(relay_.events.wait_for(3));
  const std::string failing = "failing a " + std::to_string(ECONNREFUSED);
  EXPECT_EQ(relay_.events.all(), (std::vector<std::string>{failing, "proven a", failing}));
}

TEST_F(RelayTest, WithoutAWayTheClientIsResetAtOnce) {
  const Endpoint host = relay_.add("a", {});
  EXPECT_EQ(ending_at(host), ECONNRESET);
  EXPECT_TRUE(relay_.events.all().empty());
}

TEST_F(RelayTest, AboveTheBoundClientsAreReset) {
  const Endpoint host = relay_.add("a", {target()}, 2);
  Pair first = join(host);
  const Pair second = join(host);
  EXPECT_EQ(ending_at(host), ECONNRESET);
  first = {};
  ASSERT_TRUE(relay_.eventually(
      [](ServedForwards& table, Loop&) { return table.counters().at(0).connections == 1; }));
  const Pair third = join(host);
  EXPECT_TRUE(send_all(third.client, "x"));
  EXPECT_EQ(receive(third.guest, 1), "x");
}

// A guest whose backlog is full neither answers nor refuses: the handshake hangs.
class SilentGuest {
 public:
  SilentGuest() {
    while (fillers_.size() < 8) {
      Fd filler(socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
      const auto address = SocketAddress::from(endpoint().address, endpoint().port);
      connect(filler.get(), address.get(), address.length);
      fillers_.push_back(std::move(filler));
    }
  }
  Endpoint endpoint() const { return local_endpoint(listening_.get()); }

 private:
  Fd listening_ = listening_socket(0);
  std::vector<Fd> fillers_;
};

TEST_F(RelayTest, AClientThatLeavesEndsTheConnecting) {
  SilentGuest silent;
  const Endpoint host = relay_.add("a", {silent.endpoint()});
  Fd client = connected_socket(host);
  ASSERT_TRUE(relay_.eventually(
      [](ServedForwards& table, Loop&) { return table.counters().at(0).connections == 1; }));
  reset(std::move(client));  // with nothing that the guest should still hear
  EXPECT_TRUE(no_connection_left("a"));
  EXPECT_TRUE(relay_.events.all().empty());
}

TEST_F(RelayTest, ASilentGuestTimesOut) {
  SilentGuest silent;
  const Endpoint host = relay_.add("a", {silent.endpoint()});
  const Fd client = connected_socket(host);
  EXPECT_EQ(ending(client), ECONNRESET);
  EXPECT_EQ(relay_.events.all(),
            std::vector<std::string>{"failing a " + std::to_string(ETIMEDOUT)});
}

// 64 MB into a reader that stalls: the sender stops, and the relay holds one buffer.
TEST_F(RelayTest, ASlowReaderStopsItsSender) {
  const Pair pair = join(relay_.add("a", {target()}));
  constexpr std::size_t total = 64u << 20;
  std::atomic<std::size_t> sent = 0;
  std::thread sender([&] {
    const std::string block(1 << 16, 'x');
    while (sent < total && send_all(pair.client, block))
      sent += block.size();
    shutdown(pair.client.get(), SHUT_WR);
  });
  ASSERT_TRUE(
      relay_.eventually([](ServedForwards&, Loop& loop) { return loop.buffers().taken() == 1; }));
  // Stopped: between two looks a while apart nothing moves.
  std::size_t before;
  do {
    before = sent;
    pollfd none{-1, 0, 0};
    poll(&none, 0, 100);
  } while (sent != before);
  EXPECT_LT(before, total / 2);
  EXPECT_EQ(relay_.call([](ServedForwards&, Loop& loop) { return loop.buffers().taken(); }), 1u);
  std::size_t received = 0;
  std::string block(1 << 16, '\0');
  for (;;) {
    const ssize_t count = recv(pair.guest.get(), block.data(), block.size(), 0);
    if (count <= 0) break;
    received += static_cast<std::size_t>(count);
  }
  sender.join();
  EXPECT_EQ(received, total);
  EXPECT_EQ(relay_.call([](ServedForwards&, Loop& loop) { return loop.buffers().taken(); }), 0u);
}

TEST_F(RelayTest, ABusyFlowDoesNotStarveAnother) {
  const Endpoint host = relay_.add("a", {target()});
  const Pair bulk = join(host);
  const Pair talk = join(host);
  std::atomic<bool> stop = false;
  std::thread sender([&] {
    const std::string block(1 << 20, 'x');
    while (!stop && send_all(bulk.client, block)) {
    }
    shutdown(bulk.client.get(), SHUT_WR);
  });
  std::thread sink([&] {
    std::string block(1 << 20, '\0');
    while (recv(bulk.guest.get(), block.data(), block.size(), 0) > 0) {
    }
  });
  for (int i = 0; i < 200; ++i) {
    ASSERT_TRUE(send_all(talk.client, "?"));
    ASSERT_EQ(receive(talk.guest, 1), "?");
  }
  stop = true;
  sender.join();
  sink.join();
}

TEST_F(RelayTest, ACutResetsAndRefuses) {
  const Endpoint host = relay_.add("a", {target()});
  const Pair pair = join(host);
  relay_.remove("a", RelayRemoval::cut);
  EXPECT_EQ(ending(pair.client), ECONNRESET);
  EXPECT_EQ(ending(pair.guest), ECONNRESET);
  EXPECT_FALSE(connected_socket(host));
}

TEST_F(RelayTest, ADrainingForwardMakesRoomForItsKey) {
  const Endpoint host = relay_.add("a", {target()});
  Pair old = join(host);
  relay_.remove("a", RelayRemoval::drain);
  EXPECT_FALSE(connected_socket(host));
  const Pair fresh = join(relay_.add("a", {target()}));
  for (const Pair* pair : std::array<const Pair*, 2>{&old, &fresh}) {
    EXPECT_TRUE(send_all(pair->client, "x"));
    EXPECT_EQ(receive(pair->guest, 1), "x");
  }
  EXPECT_EQ(relay_.counters("a").connections, 1u);
  old = {};
  EXPECT_TRUE(relay_.eventually(
      [](ServedForwards& table, Loop&) { return table.draining() == 0 && table.size() == 1; }));
}

TEST_F(RelayTest, ACutEndsWhatDrainsToo) {
  const Pair pair = join(relay_.add("a", {target()}));
  relay_.remove("a", RelayRemoval::drain);
  relay_.remove("a", RelayRemoval::cut);
  EXPECT_EQ(ending(pair.client), ECONNRESET);
  EXPECT_TRUE(relay_.eventually(
      [](ServedForwards& table, Loop&) { return table.draining() == 0 && table.size() == 0; }));
}

TEST_F(RelayTest, BeyondTheDescriptorBudgetClientsWait) {
  RelayThread small(1 + 2 * 2);
  const Endpoint host = small.add("a", {target()});
  Pair first = join(host);
  Pair second = join(host);
  const Fd third = connected_socket(host);  // in the backlog
  EXPECT_TRUE(send_all(third, "waiting"));
  first = {};
  const Fd guest = accepted_socket(target_);
  EXPECT_EQ(receive(guest, 7), "waiting");
}

// Random transfers in both directions at once, half-closed at the end, byte for byte.
TEST_F(RelayTest, RandomTransfersArriveWhole) {
  const Endpoint host = relay_.add("a", {target()});
  std::mt19937 random(7);
  for (int round = 0; round < 12; ++round) {
    const Pair pair = join(host);
    std::array<std::string, 2> sent, got;
    for (std::string& data : sent) {
      data.resize(random() % (4u << 20));
      for (char& byte : data)
        byte = static_cast<char>(random());
    }
    const auto write_all = [](const Fd& fd, const std::string& data) {
      send_all(fd, data);
      shutdown(fd.get(), SHUT_WR);
    };
    std::thread threads[] = {
        std::thread([&] { write_all(pair.client, sent[0]); }),
        std::thread([&] { write_all(pair.guest, sent[1]); }),
        std::thread([&] { got[0] = receive(pair.guest, sent[0].size() + 1); }),
        std::thread([&] { got[1] = receive(pair.client, sent[1].size() + 1); })};
    for (std::thread& thread : threads)
      thread.join();
    EXPECT_TRUE(got == sent) << round;
  }
  EXPECT_TRUE(no_connection_left("a"));
}

// What a swift lane passes on is kept until the test has somebody take it.
class LaneTest : public testing::Test, private Lane {
 protected:
  // Carries until the connection is passed on. `under_way_` bytes have then not yet arrived.
  MovingConnection moved(const Endpoint& host) {
    client_ = connected_socket(host);
    guest_ = accepted_socket(target_);
    std::string bytes(256 << 10, 'x');
    const gint64 deadline = g_get_monotonic_time() + deadline_seconds * G_USEC_PER_SEC;
    while (!passed_on_.load() && g_get_monotonic_time() < deadline) {
      const ssize_t sent = send(client_.get(), bytes.data(), bytes.size(), MSG_DONTWAIT);
      if (sent > 0) under_way_ += static_cast<std::size_t>(sent);
      const ssize_t got = recv(guest_.get(), bytes.data(), bytes.size(), MSG_DONTWAIT);
      if (got > 0) under_way_ -= static_cast<std::size_t>(got);
    }
    EXPECT_TRUE(passed_on_.load());
    return std::move(*connection_);
  }
  void take(MovingConnection connection) override {
    connection_.emplace(std::move(connection));
    passed_on_ = true;
  }

  Fd target_ = listening_socket();
  Fd client_;
  Fd guest_;
  std::size_t under_way_ = 0;
  std::optional<MovingConnection> connection_;
  std::atomic<bool> passed_on_{false};
  RelayThread swift_{10'000, this};
  RelayThread bulk_;
};

TEST_F(LaneTest, AConnectionGoesOnWhereItsForwardWasRemovedMeanwhile) {
  MovingConnection connection = moved(swift_.add("a", {local_endpoint(target_.get())}));
  swift_.remove("a", RelayRemoval::drain);
  const auto share = connection.share;
  bulk_.call([&](ServedForwards& served, Loop&) { served.take(std::move(connection)); });
  EXPECT_EQ(receive(guest_, under_way_).size(), under_way_);
  EXPECT_TRUE(send_all(client_, "last words"));
  EXPECT_EQ(receive(guest_, 10), "last words");
  EXPECT_EQ(share->connections, 1u);
  client_.reset();
  EXPECT_EQ(ending(guest_), 0);
  guest_.reset();
  EXPECT_TRUE(bulk_.eventually([&](ServedForwards& served, Loop&) {
    return share->connections == 0 && served.draining() == 0;
  }));
}

TEST_F(LaneTest, ACutEndsItOnItsWay) {
  MovingConnection connection = moved(swift_.add("a", {local_endpoint(target_.get())}));
  const auto share = connection.share;
  share->cut = true;
  bulk_.call([&](ServedForwards& served, Loop&) { served.take(std::move(connection)); });
  EXPECT_EQ(ending(client_), ECONNRESET);
  EXPECT_LE(receive(guest_, under_way_ + 1).size(), under_way_);
  EXPECT_EQ(share->connections, 0u);
}

}  // namespace
}  // namespace vf
