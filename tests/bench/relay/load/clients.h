// SPDX-License-Identifier: LGPL-2.1-or-later
//
// The client ends. Each measures for `window` after `warm_up` and prints one line of JSON.

#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "common.h"

namespace vf::load {

struct Options {
  std::uint16_t port = 0;
  std::string counters;
  std::size_t connections = 1;
  Milliseconds warm_up{150};
  Milliseconds window{500};
};

// Bytes a second that arrive at the serving end, from `connections` streams.
void bulk(const Options& options);
// The same with both ends sending; bytes that arrive at both ends.
void duplex(const Options& options);
// One byte there and back on each connection, over and over.
void ping_pong(const Options& options);
// Connect, send request_bytes, read to the end of the answer, close: `connections` at a time. The
// serving end closes first.
void requests(const Options& options);
// Opens connections, one byte there and back on each, says {"held": N} and keeps them until its
// standard input ends.
void hold(const Options& options);
// ping_pong() beside one bulk stream, and that stream's rate alone before it.
void mixed(const Options& options);
// Half-closes in both orders, and resets in both directions, `connections` of each.
void endings(const Options& options);
// Datagrams there and back, `connections` clients with 16 under way each.
void udp_echo(const Options& options);
// Datagrams one way as fast as they go.
void udp_flood(const Options& options);

// What happens at the two ends of the measured time.
struct Marks {
  std::function<void()> begin;
  std::function<void()> end;
};

struct Latencies {
  std::uint64_t rounds = 0;
  double elapsed = 0;
  std::vector<std::uint32_t> nanoseconds;

  void add(Clock::duration length) {
    nanoseconds.push_back(static_cast<std::uint32_t>(
        std::chrono::duration_cast<std::chrono::nanoseconds>(length).count()));
  }
  // Reorders; 0 < share < 1. In microseconds.
  double percentile(double share);
  // "rate":…,"p50_us":…,"p99_us":…
  std::string json();
};

Latencies measure_ping_pong(const Options& options, const Marks& marks);

}  // namespace vf::load
