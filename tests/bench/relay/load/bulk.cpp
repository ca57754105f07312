// SPDX-License-Identifier: LGPL-2.1-or-later

#include <sys/epoll.h>
#include <sys/socket.h>

#include <array>
#include <cerrno>
#include <cstdio>
#include <memory>
#include <thread>

#include "clients.h"

namespace vf::load {
namespace {

// Streams that are kept full, by one thread.
class Streams {
 public:
  Streams(const Options& options, Mode mode)
      : epoll_(new_epoll()), buffer_(bulk_bytes, static_cast<char>(mode)), in_(bulk_bytes) {
    for (std::size_t index = 0; index < options.connections; ++index) {
      sockets_.push_back(std::make_unique<Fd>(connect_tcp(options.port)));
      watch(epoll_, *sockets_.back(), EPOLLOUT | (mode == Mode::duplex ? EPOLLIN : 0u),
            sockets_.back().get());
    }
  }

  // Until `end`, or until `stop` is seen.
  void run(Time end, const std::atomic<bool>& stop) {
    std::array<epoll_event, 64> events;
    while (Clock::now() < end && !stop.load(std::memory_order_relaxed)) {
      const int count = epoll_wait(epoll_.get(), events.data(), events.size(), 10);
      for (int index = 0; index < count; ++index) {
        const epoll_event& event = events[static_cast<std::size_t>(index)];
        const Fd& socket = *static_cast<Fd*>(event.data.ptr);
        if (event.events & EPOLLIN) {
          const ssize_t got = recv(socket.get(), in_.data(), in_.size(), 0);
          if (got > 0) received_ += static_cast<std::uint64_t>(got);
          if (got == 0) die("the stream was ended");
        }
        if (event.events & (EPOLLOUT | EPOLLERR) &&
            send(socket.get(), buffer_.data(), buffer_.size(), MSG_NOSIGNAL) < 0 && errno != EAGAIN)
          die("send");
      }
    }
  }

  std::uint64_t received() const { return received_; }

 private:
  Fd epoll_;
  std::vector<char> buffer_;
  std::vector<char> in_;
  std::vector<std::unique_ptr<Fd>> sockets_;
  std::uint64_t received_ = 0;
};

const std::atomic<bool> never{false};

void measure(const Options& options, Mode mode) {
  const Counters& counters = map_counters(options.counters);
  const std::uint64_t first = counters.bytes;
  Streams streams(options, mode);
  const auto so_far = [&] { return counters.bytes - first + streams.received(); };
  streams.run(Clock::now() + options.warm_up, never);
  const std::uint64_t before = so_far();
  const Time begun = Clock::now();
  streams.run(begun + options.window, never);
  const std::uint64_t after = so_far();
  const double elapsed = seconds(Clock::now() - begun);
  std::printf("{\"rate\": %.0f, \"bytes\": %llu}\n", static_cast<double>(after - before) / elapsed,
              static_cast<unsigned long long>(after));
}

}  // namespace

void bulk(const Options& options) {
  measure(options, Mode::upload);
}
void duplex(const Options& options) {
  measure(options, Mode::duplex);
}

void mixed(const Options& options) {
  const Counters& counters = map_counters(options.counters);
  Options one = options;
  one.connections = 1;
  std::atomic<bool> stop{false};
  std::thread stream([&] { Streams(one, Mode::upload).run(Time::max(), stop); });

  std::this_thread::sleep_for(options.warm_up);
  std::uint64_t before = counters.bytes;
  const Time begun = Clock::now();
  std::this_thread::sleep_for(options.window / 2);
  const double alone = static_cast<double>(counters.bytes - before) / seconds(Clock::now() - begun);

  std::uint64_t after = 0;
  Latencies latencies = measure_ping_pong(
      options, {[&] { before = counters.bytes; }, [&] { after = counters.bytes; }});
  const double beside = static_cast<double>(after - before) / latencies.elapsed;
  stop = true;
  stream.join();
  std::printf("{%s, \"bulk_alone\": %.0f, \"bulk_beside\": %.0f}\n", latencies.json().c_str(),
              alone, beside);
}

}  // namespace vf::load
