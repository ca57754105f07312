// SPDX-License-Identifier: LGPL-2.1-or-later

#include <sys/epoll.h>
#include <sys/socket.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstdio>

#include "clients.h"

namespace vf::load {
namespace {

struct Ball {
  Fd socket;
  Time sent;
};

const char serve = static_cast<char>(Mode::echo);

void hit(Ball& ball, Time now) {
  ball.sent = now;
  if (send(ball.socket.get(), &serve, 1, MSG_NOSIGNAL) != 1) die("ping");
}

// One byte has been there and back on it.
Fd proved_connection(std::uint16_t port) {
  Fd socket = connect_tcp(port);
  make_blocking(socket);
  send_all(socket, &serve, 1);
  char answer = 0;
  if (recv(socket.get(), &answer, 1, 0) != 1) die("no answer to the first byte");
  return socket;
}

}  // namespace

double Latencies::percentile(double share) {
  if (nanoseconds.empty()) return 0;
  const auto rank = static_cast<std::ptrdiff_t>(share * static_cast<double>(nanoseconds.size()));
  std::nth_element(nanoseconds.begin(), nanoseconds.begin() + rank, nanoseconds.end());
  return nanoseconds[static_cast<std::size_t>(rank)] / 1000.0;
}

std::string Latencies::json() {
  std::array<char, 128> line;
  std::snprintf(line.data(), line.size(), "\"rate\": %.0f, \"p50_us\": %.1f, \"p99_us\": %.1f",
                static_cast<double>(rounds) / elapsed, percentile(0.5), percentile(0.99));
  return line.data();
}

Latencies measure_ping_pong(const Options& options, const Marks& marks) {
  const Fd epoll = new_epoll();
  std::vector<Ball> balls(options.connections);
  for (Ball& ball : balls) {
    ball.socket = proved_connection(options.port);
    watch(epoll, ball.socket, EPOLLIN, &ball);
  }
  Latencies latencies;
  latencies.nanoseconds.reserve(1 << 20);
  Time now = Clock::now();
  const Time begin = now + options.warm_up;
  Time begun = Time::max();
  Time end = begin + options.window;
  for (Ball& ball : balls)
    hit(ball, now);
  std::array<epoll_event, 64> events;
  do {
    const int count = epoll_wait(epoll.get(), events.data(), events.size(), 100);
    now = Clock::now();
    if (begun == Time::max() && now >= begin) {
      begun = now;
      end = begun + options.window;
      marks.begin();
    }
    for (int index = 0; index < count; ++index) {
      Ball& ball = *static_cast<Ball*>(events[static_cast<std::size_t>(index)].data.ptr);
      char answer = 0;
      if (recv(ball.socket.get(), &answer, 1, 0) != 1) die("pong");
      if (now > begun) {
        latencies.add(now - ball.sent);
        ++latencies.rounds;
      }
      hit(ball, now);
    }
  } while (now < end);
  marks.end();
  latencies.elapsed = seconds(now - begun);
  return latencies;
}

void ping_pong(const Options& options) {
  Latencies latencies = measure_ping_pong(options, {[] {}, [] {}});
  std::printf("{%s}\n", latencies.json().c_str());
}

void hold(const Options& options) {
  raise_descriptor_limit();
  std::vector<Fd> connections;
  while (connections.size() < options.connections)
    connections.push_back(proved_connection(options.port));
  std::printf("{\"held\": %zu}\n", connections.size());
  std::fflush(stdout);
  while (std::getchar() != EOF) {
  }
}

}  // namespace vf::load
