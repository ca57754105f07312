// SPDX-License-Identifier: LGPL-2.1-or-later
//
// Several pairs of threads that serve the same forwards.

#include "relay/crew.h"

#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "base/listening_socket.h"
#include "loopback.h"

namespace vf {
namespace {

using namespace test;

constexpr std::size_t pairs = 2;

// Nanoseconds that the threads of this name have run, of this process.
std::uint64_t run_time(const std::string& name) {
  std::uint64_t sum = 0;
  for (const auto& task : std::filesystem::directory_iterator("/proc/self/task")) {
    std::string comm;
    std::ifstream(task.path() / "comm") >> comm;
    std::uint64_t time = 0;
    if (comm == name) std::ifstream(task.path() / "schedstat") >> time;
    sum += time;
  }
  return sum;
}

class CrewTest : public testing::Test, private RelayEvents {
 protected:
  // Where clients of a forward connect that is staged here.
  Endpoint stage(const std::string& key, std::uint32_t max_connections = 0) {
    Fd listener = listening_socket();
    const Endpoint host = local_endpoint(listener.get());
    RelayAdd add{{key, {{local_endpoint(target_.get())}}, max_connections}, {}};
    add.listeners.push_back(std::move(listener));
    EXPECT_TRUE(crew_->stage(std::move(add)));
    return host;
  }
  void commit() {
    bool applied = false;
    crew_->commit([&] { applied = true; });
    ASSERT_TRUE(run_until([&] { return applied; }));
  }
  std::vector<RelayCounters> counters() { return statistics().forwards; }
  Crew::Statistics statistics() {
    std::optional<Crew::Statistics> all;
    crew_->statistics([&](Crew::Statistics said) { all = std::move(said); });
    EXPECT_TRUE(run_until([&] { return all.has_value(); }));
    return *all;
  }
  bool refused(const Endpoint& host) { return !connected_socket(host) && errno == ECONNREFUSED; }

  void proven(const std::string& key, std::size_t) override { ++proven_[key]; }
  void failing(const std::string& key, int) override { ++failing_[key]; }

  Fd target_ = listening_socket();
  std::map<std::string, int> proven_;
  std::map<std::string, int> failing_;
  DescriptorBudget descriptors_{10'000};
  std::unique_ptr<Crew> crew_ = *Crew::create(pairs, descriptors_, *this);
};

TEST_F(CrewTest, ServesFromTheCommitOn) {
  const Endpoint host = stage("a");
  EXPECT_TRUE(counters().empty());
  commit();
  std::vector<Fd> clients;
  std::vector<Fd> guests;
  for (int i = 0; i < 40; ++i) {
    clients.push_back(connected_socket(host));
    guests.push_back(accepted_socket(target_));
    const std::string word = std::to_string(i);
    EXPECT_TRUE(send_all(clients.back(), word));
    EXPECT_EQ(receive(guests.back(), word.size()), word);
  }
  const auto all = counters();
  ASSERT_EQ(all.size(), 1u);
  EXPECT_EQ(all[0].accepted, 40u);
  EXPECT_EQ(all[0].connections, 40u);
  EXPECT_EQ(all[0].bytes_in, 10u + 60u);
  // Told once, whichever threads they came to.
  ASSERT_TRUE(run_until([&] { return proven_["a"] > 0; }));
  counters();
  EXPECT_EQ(proven_["a"], 1);
}

// Of the same target too: who asks does not know any more.
TEST_F(CrewTest, AnUpdateIsProvenAnew) {
  const Endpoint host = stage("a");
  commit();
  std::vector<Fd> clients;
  const auto connect_two = [&] {
    for (int i = 0; i < 2; ++i) {
      clients.push_back(connected_socket(host));
      clients.push_back(accepted_socket(target_));
    }
    EXPECT_TRUE(run_until([&] { return counters()[0].connections == clients.size() / 2; }));
  };
  connect_two();
  ASSERT_TRUE(run_until([&] { return proven_["a"] == 1; }));
  ASSERT_TRUE(crew_->stage(RelayUpdate{{"a", {{local_endpoint(target_.get())}}, 0}}));
  commit();
  EXPECT_EQ(proven_["a"], 1);
  connect_two();
  EXPECT_TRUE(run_until([&] { return proven_["a"] > 1; }));
  counters();
  EXPECT_EQ(proven_["a"], 2);
}

TEST_F(CrewTest, ALimitCountsTheConnectionsOfAllThreads) {
  const Endpoint host = stage("a", 7);
  commit();
  std::vector<Fd> clients;
  for (int i = 0; i < 20; ++i)
    clients.push_back(connected_socket(host));
  EXPECT_TRUE(run_until([&] { return counters()[0].failures == 13; }));
  EXPECT_EQ(counters()[0].connections, 7u);
  std::uint64_t refused = 0;
  const Crew::Statistics told = statistics();
  for (const RelayLaneStatistics& lane : told.lanes)
    refused += lane.refused;
  EXPECT_EQ(refused, 13u);
  clients.clear();
  for (int i = 0; i < 7; ++i)
    accepted_socket(target_).reset();
  EXPECT_TRUE(run_until([&] { return counters()[0].connections == 0; }));
}

TEST_F(CrewTest, ACutReachesEveryThread) {
  const Endpoint host = stage("a");
  commit();
  std::vector<Fd> clients;
  std::vector<Fd> guests;
  for (int i = 0; i < 20; ++i) {
    clients.push_back(connected_socket(host));
    guests.push_back(accepted_socket(target_));
  }
  ASSERT_TRUE(crew_->stage(RelayRemove{"a", RelayRemoval::cut}));
  commit();
  EXPECT_TRUE(refused(host));
  for (const Fd& client : clients)
    EXPECT_EQ(ending(client), ECONNRESET);
  EXPECT_EQ(crew_->size(), 0u);
}

// Bytes that tell their place.
std::string pattern(std::size_t from, std::size_t count) {
  std::string bytes(count, '\0');
  for (std::size_t i = 0; i < count; ++i)
    bytes[i] = static_cast<char>((from + i) % 251);
  return bytes;
}

TEST_F(CrewTest, ABulkTransferHasALaneOfItsOwnAndComesBack) {
  const Endpoint host = stage("a");
  commit();
  const Fd client = connected_socket(host);
  const Fd guest = accepted_socket(target_);
  constexpr std::size_t piece = 1 << 20;
  constexpr std::size_t pieces = 24;
  for (int round = 0; round < 3; ++round) {
    const std::uint64_t before = run_time("relay-bulk");
    std::thread sender([&] {
      for (std::size_t i = 0; i < pieces; ++i)
        EXPECT_TRUE(send_all(round % 2 ? client : guest, pattern(i * piece, piece)));
    });
    for (std::size_t i = 0; i < pieces; ++i)
      EXPECT_TRUE(receive(round % 2 ? guest : client, piece) == pattern(i * piece, piece))
          << "piece " << i;
    sender.join();
    EXPECT_GT(run_time("relay-bulk"), before + 500'000);
    for (int small = 0; small < 80; ++small) {
      EXPECT_TRUE(send_all(client, "ping"));
      EXPECT_EQ(receive(guest, 4), "ping");
      EXPECT_TRUE(send_all(guest, "pong"));
      EXPECT_EQ(receive(client, 4), "pong");
    }
    // Back in the swift lane, sooner or later on a busy machine, the bulk lane sleeps: a message
    // takes five thousand.
    bool sleeps = false;
    for (int batch = 0; batch < 50 && !sleeps; ++batch) {
      const std::uint64_t after = run_time("relay-bulk");
      for (int small = 0; small < 100; ++small) {
        EXPECT_TRUE(send_all(client, "ping"));
        EXPECT_EQ(receive(guest, 4), "ping");
      }
      sleeps = run_time("relay-bulk") < after + 100'000;
    }
    EXPECT_TRUE(sleeps);
  }
  EXPECT_EQ(counters()[0].connections, 1u);
  EXPECT_EQ(counters()[0].accepted, 1u);
}

TEST_F(CrewTest, ACutAndADrainFindConnectionsThatChangeLanes) {
  for (int round = 0; round < 16; ++round) {
    const Endpoint host = stage("a");
    commit();
    const Fd client = connected_socket(host);
    const Fd guest = accepted_socket(target_);
    std::thread sender([&] { send_all(client, pattern(0, 8 << 20)); });
    const auto first = static_cast<std::size_t>(round) << 18;
    EXPECT_EQ(receive(guest, first).size(), first);
    const bool cut = round % 2 == 0;
    ASSERT_TRUE(crew_->stage(RelayRemove{"a", cut ? RelayRemoval::cut : RelayRemoval::drain}));
    commit();
    const std::string rest = receive(guest, (8u << 20) - first);
    if (!cut) {
      EXPECT_TRUE(rest == pattern(first, (8u << 20) - first));
    } else {
      EXPECT_LT(rest.size(), (8u << 20) - first);
    }
    sender.join();
  }
}

// What a connection on its way between two threads goes by.
TEST_F(CrewTest, TheShareTellsOfACutAndNotOfADrain) {
  stage("a");
  commit();
  const auto share = crew_->after("")->share;
  ASSERT_TRUE(crew_->stage(RelayRemove{"a", RelayRemoval::drain}));
  commit();
  EXPECT_FALSE(share->cut);
  ASSERT_TRUE(crew_->stage(RelayRemove{"a", RelayRemoval::cut}));
  commit();
  EXPECT_TRUE(share->cut) << "it was draining";
  stage("b");
  commit();
  const auto other = crew_->after("")->share;
  ASSERT_TRUE(crew_->stage(RelayRemove{"b", RelayRemoval::cut}));
  commit();
  EXPECT_TRUE(other->cut);
}

TEST_F(CrewTest, AnotherListenerReplacesTheFirstAndConnectionsGoOn) {
  const Endpoint first = stage("a");
  commit();
  const Fd client = connected_socket(first);
  const Fd guest = accepted_socket(target_);
  const Endpoint second = stage("a");
  commit();
  EXPECT_TRUE(refused(first));
  EXPECT_TRUE(connected_socket(second));
  EXPECT_TRUE(send_all(client, "still"));
  EXPECT_EQ(receive(guest, 5), "still");
}

TEST_F(CrewTest, WhatIsDroppedBeforeTheCommitIsClosed) {
  const Endpoint host = stage("a");
  crew_->drop_staged();
  EXPECT_TRUE(refused(host));
  commit();
  EXPECT_EQ(crew_->after(""), nullptr);
}

TEST_F(CrewTest, OnlyTcpSocketsAreTaken) {
  const auto staged = [&](Fd fd) {
    RelayAdd add{{"a", {}, 0}, {}};
    add.listeners.push_back(std::move(fd));
    return crew_->stage(std::move(add)).has_value();
  };
  EXPECT_FALSE(staged(Fd(socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0))));
  EXPECT_FALSE(staged(Fd(dup(STDERR_FILENO))));
  EXPECT_FALSE(staged(Fd()));
  EXPECT_TRUE(staged(listening_socket()));
}

// The daemon pauses a forward whose service has ended, perhaps before the relay has seen it.
TEST_F(CrewTest, AListenerThatIsPausedOnItsWayHarmsNobody) {
  Fd paused = listening_socket();
  const Endpoint gone = local_endpoint(paused.get());
  pause_listening(paused);
  RelayAdd add{{"paused", {}, 0}, {}};
  add.listeners.push_back(std::move(paused));
  EXPECT_TRUE(crew_->stage(std::move(add)));
  const Endpoint host = stage("a");
  commit();
  EXPECT_TRUE(refused(gone));
  EXPECT_TRUE(connected_socket(host));
  EXPECT_TRUE(crew_->stage(RelayRemove{"paused", RelayRemoval::drain}));
  commit();
  EXPECT_TRUE(connected_socket(host));
}

TEST_F(CrewTest, ItEndsWithConnectionsOpen) {
  const Endpoint host = stage("a");
  commit();
  const Fd client = connected_socket(host);
  const Fd guest = accepted_socket(target_);
  crew_.reset();
  EXPECT_EQ(ending(client), ECONNRESET);
  EXPECT_EQ(ending(guest), ECONNRESET);
  EXPECT_TRUE(refused(host));
}

}  // namespace
}  // namespace vf
