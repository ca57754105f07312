// SPDX-License-Identifier: LGPL-2.1-or-later

#include "transfer.h"

#include <gtest/gtest.h>
#include <poll.h>
#include <sys/socket.h>

#include <atomic>
#include <cstdint>
#include <cstdlib>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "loopback.h"
#include "relay_program.h"

namespace vf {
namespace {

using namespace test;

constexpr std::size_t forwards = 16;

struct Outcome {
  int carried = 0;
  int reset = 0;
};

// `count` connections with what random scripts do on them, 16 at a time.
Outcome transfers(RelayProgram& relay, const std::vector<Fd>& targets, int count,
                  std::uint64_t seed, Tolerance tolerance = Tolerance::none) {
  std::atomic<int> number = 0;
  std::atomic<int> carried = 0;
  std::atomic<int> reset = 0;
  std::mutex mutex;
  const auto work = [&](std::size_t which) {
    for (int i = number++; i < count && !testing::Test::HasFailure(); i = number++) {
      Random random(seed + static_cast<std::uint64_t>(i));
      Fd client = connected_socket(relay.host(which));
      if (!client) {
        const std::lock_guard lock(mutex);
        ADD_FAILURE() << "connect: " << strerror(errno);
        return;
      }
      pollfd accepts{targets[which].get(), POLLIN, 0};
      pollfd gone{client.get(), POLLIN, 0};
      Fd server;
      while (!server) {
        // The relay may fail to connect, where that is tolerated.
        if (poll(&gone, 1, 0) > 0 && tolerance == Tolerance::resets) break;
        if (poll(&accepts, 1, 100) > 0) server = accepted_socket(targets[which]);
      }
      if (!server) {
        while (poll(&accepts, 1, 0) > 0)  // given up after it was connected
          accepted_socket(targets[which]);
        ++reset;
        continue;
      }
      const Scripts scripts = random_scripts(random);
      const Verdict verdict =
          transfer(std::move(client), std::move(server), scripts, random, tolerance);
      if (!verdict.wrong.empty()) {
        const std::lock_guard lock(mutex);
        ADD_FAILURE() << "seed " << seed + static_cast<std::uint64_t>(i) << ": " << verdict.wrong;
      }
      ++(verdict.was_reset ? reset : carried);
    }
  };
  std::vector<std::thread> workers;
  for (std::size_t which = 0; which < targets.size(); ++which)
    workers.emplace_back(work, which);
  for (std::thread& worker : workers)
    worker.join();
  return {carried, reset};
}

std::vector<Fd> listeners(std::size_t count) {
  std::vector<Fd> sockets;
  for (std::size_t i = 0; i < count; ++i)
    sockets.push_back(listening_socket());
  return sockets;
}

std::vector<Endpoint> endpoints(const std::vector<Fd>& sockets) {
  std::vector<Endpoint> list;
  for (const Fd& socket : sockets)
    list.push_back(local_endpoint(socket.get()));
  return list;
}

int number_from(const char* variable, int otherwise) {
  const char* const text = std::getenv(variable);
  return text ? std::atoi(text) : otherwise;
}

// In the relay's process, before it is the relay.
void inject(const char* faults) {
  setenv("LD_PRELOAD", VF_RELAY_FAULTS_PATH, 1);
  setenv("VF_FAULTS", faults, 1);
  setenv("ASAN_OPTIONS", "verify_asan_link_order=0", 1);  // it need not be the first library
}

TEST(Transfers, RandomOnesAreExact) {
  const auto targets = listeners(forwards);
  RelayProgram relay(endpoints(targets));
  const int count = number_from("VF_TRANSFERS", 6'000);
  const Outcome outcome =
      transfers(relay, targets, count, static_cast<std::uint64_t>(number_from("VF_SEED", 1)));
  EXPECT_TRUE(outcome.carried == count || HasFailure()) << outcome.carried;
  relay.stop();
}

TEST(Transfers, RandomOnesAreExactOnFourThreads) {
  const auto targets = listeners(forwards);
  RelayProgram relay(
      endpoints(targets), [] {}, 4);
  const int count = number_from("VF_TRANSFERS", 6'000) / 2;
  const Outcome outcome = transfers(relay, targets, count, 10'000);
  EXPECT_TRUE(outcome.carried == count || HasFailure()) << outcome.carried;
  relay.stop();
}

// With socket buffers of a few kilobytes every write is short and every reader is waited for.
TEST(Transfers, WithSmallSocketBuffers) {
  auto targets = listeners(forwards);
  const int small = 4096;
  for (const Fd& target : targets)  // what it accepts has it too
    for (const int option : {SO_RCVBUF, SO_SNDBUF})
      setsockopt(target.get(), SOL_SOCKET, option, &small, sizeof small);
  RelayProgram relay(endpoints(targets), [] { inject("small-buffers"); });
  const int count = number_from("VF_TRANSFERS", 6'000) / 8;
  const Outcome outcome = transfers(relay, targets, count, 20'000);
  EXPECT_TRUE(outcome.carried == count || HasFailure()) << outcome.carried;
  relay.stop();
}

// What a system call may answer without anything being lost.
TEST(Transfers, AreExactThroughInterruptionsAndShortages) {
  const auto targets = listeners(forwards);
  RelayProgram relay(endpoints(targets), [] { inject("harmless"); });
  const int count = number_from("VF_TRANSFERS", 6'000) / 2;
  const Outcome outcome = transfers(relay, targets, count, 40'000);
  EXPECT_TRUE(outcome.carried == count || HasFailure()) << outcome.carried;
  relay.stop();
}

// Errors that end a connection end this one only, as a reset.
TEST(Transfers, BreakAsResetsOnly) {
  const auto targets = listeners(forwards);
  RelayProgram relay(endpoints(targets), [] { inject("harmful"); });
  const int count = number_from("VF_TRANSFERS", 6'000) / 2;
  const Outcome outcome = transfers(relay, targets, count, 60'000, Tolerance::resets);
  EXPECT_GT(outcome.carried, count / 2);
  EXPECT_GT(outcome.reset, count / 50);
  relay.stop();
}

}  // namespace
}  // namespace vf
