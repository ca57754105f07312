// SPDX-License-Identifier: LGPL-2.1-or-later

#include <sys/epoll.h>
#include <sys/socket.h>

#include <array>
#include <cerrno>
#include <cstdio>

#include "clients.h"

namespace vf::load {
namespace {

struct Visit {
  Fd socket;
  Time begun;
  std::size_t received = 0;
  bool asked = false;
};

class Visitors {
 public:
  explicit Visitors(const Options& options)
      : port_(options.port), epoll_(new_epoll()), visits_(options.connections) {
    question_.fill(static_cast<char>(Mode::request));
    for (Visit& visit : visits_)
      start(visit);
  }

  void run(Time end) {
    std::array<epoll_event, 64> events;
    while (Clock::now() < end) {
      const int count = epoll_wait(epoll_.get(), events.data(), events.size(), 100);
      for (int index = 0; index < count; ++index)
        step(*static_cast<Visit*>(events[static_cast<std::size_t>(index)].data.ptr));
    }
  }

  Latencies latencies;

 private:
  void start(Visit& visit) {
    visit = Visit{{}, Clock::now()};
    visit.socket = connect_tcp(port_);
    watch(epoll_, visit.socket, EPOLLIN | EPOLLOUT | EPOLLET, &visit);
    ask(visit);
  }

  void ask(Visit& visit) {
    const ssize_t sent = send(visit.socket.get(), question_.data(), question_.size(), MSG_NOSIGNAL);
    if (sent < 0 && errno != EAGAIN) die("request");
    visit.asked = sent > 0;
  }

  void step(Visit& visit) {
    if (!visit.asked) ask(visit);
    std::array<char, 2 * response_bytes> answer;
    for (;;) {
      const ssize_t got = recv(visit.socket.get(), answer.data(), answer.size(), 0);
      if (got < 0 && errno == EAGAIN) return;
      if (got < 0) die("answer");
      if (got == 0) break;
      visit.received += static_cast<std::size_t>(got);
    }
    if (visit.received != response_bytes) {
      errno = 0;
      die("an answer of " + std::to_string(visit.received) + " bytes");
    }
    visit.socket.reset();
    latencies.add(Clock::now() - visit.begun);
    ++latencies.rounds;
    start(visit);
  }

  std::uint16_t port_;
  Fd epoll_;
  std::array<char, request_bytes> question_;
  std::vector<Visit> visits_;
};

}  // namespace

void requests(const Options& options) {
  Visitors visitors(options);
  visitors.run(Clock::now() + options.warm_up);
  visitors.latencies = {};
  visitors.latencies.nanoseconds.reserve(1 << 18);
  const Time begun = Clock::now();
  visitors.run(begun + options.window);
  visitors.latencies.elapsed = seconds(Clock::now() - begun);
  std::printf("{%s}\n", visitors.latencies.json().c_str());
}

}  // namespace vf::load
