// SPDX-License-Identifier: LGPL-2.1-or-later
//
// Both ends of UDP, in batches, so that what is measured is the relay between them.

#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/epoll.h>
#include <sys/socket.h>

#include <array>
#include <cerrno>
#include <cstdio>
#include <memory>
#include <thread>

#include "clients.h"
#include "server.h"

namespace vf::load {
namespace {

constexpr std::size_t datagram_bytes = 64;
constexpr std::size_t batch = 64;
constexpr std::size_t under_way = 16;  // of one client of udp_echo()

// Message headers over buffers of one datagram each.
class Batch {
 public:
  explicit Batch(char mode) {
    for (std::size_t index = 0; index < batch; ++index) {
      data_[index].fill(mode);
      parts_[index] = {data_[index].data(), datagram_bytes};
      messages_[index] = {};
      messages_[index].msg_hdr.msg_iov = &parts_[index];
      messages_[index].msg_hdr.msg_iovlen = 1;
    }
  }

  void with_addresses() {
    for (std::size_t index = 0; index < batch; ++index) {
      messages_[index].msg_hdr.msg_name = &addresses_[index];
      messages_[index].msg_hdr.msg_namelen = sizeof addresses_[index];
    }
  }

  int receive(const Fd& socket, int flags) {
    return recvmmsg(socket.get(), messages_.data(), batch, flags, nullptr);
  }
  int send(const Fd& socket, std::size_t count) {
    return sendmmsg(socket.get(), messages_.data(), static_cast<unsigned>(count), MSG_NOSIGNAL);
  }
  char first_byte() const { return data_[0][0]; }

 private:
  std::array<std::array<char, datagram_bytes>, batch> data_;
  std::array<iovec, batch> parts_;
  std::array<sockaddr_in, batch> addresses_;
  std::array<mmsghdr, batch> messages_;
};

// Room for what a relay hands on in one go; the same for every relay.
void widen(const Fd& socket) {
  const int bytes = 4 << 20;
  setsockopt(socket.get(), SOL_SOCKET, SO_RCVBUF, &bytes, sizeof bytes);
}

Fd connected(std::uint16_t port) {
  Fd socket(::socket(AF_INET, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
  const sockaddr_in address = named_address(port);
  if (!socket ||
      connect(socket.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) < 0)
    die("udp socket");
  widen(socket);
  return socket;
}

struct Sender {
  Fd socket;
  Time heard;
};

class Echoes {
 public:
  explicit Echoes(const Options& options) : epoll_(new_epoll()), senders_(options.connections) {
    for (Sender& sender : senders_) {
      sender.socket = connected(options.port);
      watch(epoll_, sender.socket, EPOLLIN, &sender);
      first_answer(sender);
    }
  }

  // Keeps every sender's window full; what did not come back within 50 ms counts as lost, and the
  // sender starts again.
  void run(Time end) {
    std::array<epoll_event, 64> events;
    for (Time now = Clock::now(); now < end; now = Clock::now()) {
      const int count = epoll_wait(epoll_.get(), events.data(), events.size(), 10);
      for (int index = 0; index < count; ++index) {
        Sender& sender = *static_cast<Sender*>(events[static_cast<std::size_t>(index)].data.ptr);
        const int got = messages_.receive(sender.socket, 0);
        if (got <= 0) continue;
        answered += static_cast<std::uint64_t>(got);
        sender.heard = now;
        send(sender, static_cast<std::size_t>(got));
      }
      for (Sender& sender : senders_)
        if (now - sender.heard > Milliseconds(50)) {
          sender.heard = now;
          send(sender, under_way);
        }
    }
  }

  std::uint64_t sent = 0;
  std::uint64_t answered = 0;

  std::uint64_t pending() const { return under_way * senders_.size(); }

 private:
  // The flow exists in the relay once an answer came; a relay may need time for a first one.
  void first_answer(Sender& sender) {
    for (int attempt = 0; attempt < 40; ++attempt) {
      if (messages_.send(sender.socket, 1) < 0 && errno != ECONNREFUSED) die("udp");
      for (int wait = 0; wait < 50; ++wait) {
        if (messages_.receive(sender.socket, 0) > 0) return;
        std::this_thread::sleep_for(Milliseconds(1));
      }
    }
    die("no answer to the first datagram");
  }

  void send(Sender& sender, std::size_t count) {
    const int done = messages_.send(sender.socket, count);
    if (done > 0) sent += static_cast<std::uint64_t>(done);
  }

  Fd epoll_;
  Batch messages_{static_cast<char>(Mode::echo)};
  std::vector<Sender> senders_;
};

}  // namespace

void serve_udp(std::uint16_t port, Counters& counters) {
  const Fd socket(::socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0));
  const sockaddr_in address = named_address(port);
  if (!socket ||
      bind(socket.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) < 0)
    die("udp port " + std::to_string(port));
  widen(socket);
  const auto messages = std::make_unique<Batch>(0);
  for (;;) {
    messages->with_addresses();
    const int got = messages->receive(socket, MSG_WAITFORONE);
    if (got <= 0) continue;
    const auto count = static_cast<std::size_t>(got);
    counters.datagrams.fetch_add(count, std::memory_order_relaxed);
    if (static_cast<Mode>(messages->first_byte()) == Mode::echo) messages->send(socket, count);
  }
}

void udp_echo(const Options& options) {
  Echoes echoes(options);
  echoes.run(Clock::now() + options.warm_up);
  const std::uint64_t answered = echoes.answered, sent = echoes.sent;
  const Time begun = Clock::now();
  echoes.run(begun + options.window);
  const double elapsed = seconds(Clock::now() - begun);
  const std::uint64_t came = echoes.answered - answered, went = echoes.sent - sent;
  const std::uint64_t lost = went > came + echoes.pending() ? went - came : 0;
  std::printf("{\"rate\": %.0f, \"loss\": %.4f}\n", static_cast<double>(came) / elapsed,
              went ? static_cast<double>(lost) / static_cast<double>(went) : 0);
}

void udp_flood(const Options& options) {
  const Counters& counters = map_counters(options.counters);
  Batch messages(static_cast<char>(Mode::upload));
  const Fd socket = connected(options.port);
  std::uint64_t sent = 0;
  const auto flood = [&](Time end) {
    while (Clock::now() < end) {
      const int done = messages.send(socket, batch);
      if (done > 0) sent += static_cast<std::uint64_t>(done);
    }
  };
  messages.send(socket, 1);  // the relay makes its flow
  std::this_thread::sleep_for(options.warm_up);
  flood(Clock::now() + options.warm_up);
  const std::uint64_t sent_before = sent, came_before = counters.datagrams;
  const Time begun = Clock::now();
  flood(begun + options.window);
  const double elapsed = seconds(Clock::now() - begun);
  const auto came = static_cast<double>(counters.datagrams - came_before);
  const auto went = static_cast<double>(sent - sent_before);
  std::printf("{\"rate\": %.0f, \"loss\": %.4f}\n", came / elapsed,
              went > came ? 1 - came / went : 0);
}

}  // namespace vf::load
