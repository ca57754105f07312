// SPDX-License-Identifier: LGPL-2.1-or-later
//
// What both ends of the load generator share: clock, sockets, and the counters through which the
// serving process tells what it saw.

#pragma once

#include <netinet/in.h>

#include <atomic>
#include <chrono>
#include <cstdint>
#include <string>

#include "base/fd.h"

namespace vf::load {

using Clock = std::chrono::steady_clock;
using Time = Clock::time_point;
using Milliseconds = std::chrono::milliseconds;

inline double seconds(Clock::duration length) {
  return std::chrono::duration<double>(length).count();
}

// The first byte of a connection, or of a datagram, says what the serving end does with it.
enum class Mode : char {
  upload = 'U',         // reads and counts
  duplex = 'B',         // reads and counts, and writes as fast as it can
  echo = 'E',           // sends back what comes
  request = 'R',        // after request_bytes: answers response_bytes and closes
  client_ends = 'H',    // reads to the end, then answers how many bytes came (8 bytes), closes
  server_ends = 'h',    // sends one byte, ends its direction, then counts what still comes
  client_resets = 'X',  // sends one byte, then counts whether a reset or an end came
  server_resets = 'x',  // resets the connection
};

inline constexpr std::size_t request_bytes = 100;
inline constexpr std::size_t response_bytes = 1024;
inline constexpr std::size_t bulk_bytes = 256 * 1024;  // of one read or write

// Lies in a file that the serving process and its clients map.
struct Counters {
  std::atomic<std::uint64_t> bytes;      // of upload and duplex
  std::atomic<std::uint64_t> datagrams;  // arrived
  std::atomic<std::uint64_t> late;       // bytes that came after server_ends ended its direction
  std::atomic<std::uint64_t> resets;     // client_resets: came as a reset
  std::atomic<std::uint64_t> ends;       // client_resets: came as an orderly end
};

// Prints what failed, with errno, and ends the program.
[[noreturn]] void die(const std::string& what);

// Creates the file, zeroed, when it is not there yet.
Counters& map_counters(const std::string& path);

// 127.0.0.1, unless another was named.
void name_address(in_addr address);
sockaddr_in named_address(std::uint16_t port);

Fd listen_tcp(std::uint16_t port);
// Non-blocking, without Nagle's delay. The connection may still be under way.
Fd connect_tcp(std::uint16_t port);
// The socket becomes blocking, with a deadline of 5 s for each call.
void make_blocking(const Fd& socket);
// Blocking, and all bytes or die().
void send_all(const Fd& socket, const void* data, std::size_t length);
// Makes close() send a reset.
void reset_on_close(const Fd& socket);

Fd new_epoll();
void watch(const Fd& epoll, const Fd& socket, std::uint32_t events, void* owner);
void raise_descriptor_limit();

}  // namespace vf::load
