// SPDX-License-Identifier: LGPL-2.1-or-later

#include "server.h"

#include <sys/epoll.h>
#include <sys/socket.h>

#include <array>
#include <cerrno>
#include <memory>
#include <thread>
#include <vector>

namespace vf::load {
namespace {

struct Peer {
  Fd socket;
  char mode = 0;  // 0 until the first byte
  std::uint64_t received = 0;
};

class Server {
 public:
  Server(std::uint16_t port, Counters& counters)
      : counters_(counters), listener_(listen_tcp(port)), small_(new_epoll()), bulk_(new_epoll()) {
    watch(small_, listener_, EPOLLIN, nullptr);
  }

  [[noreturn]] void run() {
    std::thread([this] { loop(bulk_); }).detach();
    loop(small_);
  }

 private:
  // A peer that is done with is deleted, which closes its socket and so ends its being watched.
  [[noreturn]] void loop(const Fd& epoll) {
    std::vector<char> buffer(bulk_bytes, 'd');
    std::array<epoll_event, 128> events;
    for (;;) {
      const int count = epoll_wait(epoll.get(), events.data(), events.size(), -1);
      for (int index = 0; index < count; ++index) {
        const epoll_event& event = events[static_cast<std::size_t>(index)];
        auto* const peer = static_cast<Peer*>(event.data.ptr);
        if (!peer)
          accept_one();
        else if (!serve_peer(*peer, event.events, buffer))
          delete peer;
      }
    }
  }

  void accept_one() {
    Fd socket(accept4(listener_.get(), nullptr, nullptr, SOCK_NONBLOCK | SOCK_CLOEXEC));
    if (!socket) return;
    auto peer = std::make_unique<Peer>(Peer{std::move(socket)});
    watch(small_, peer->socket, EPOLLIN, peer.get());
    static_cast<void>(peer.release());  // the loop's now
  }

  // Whether the connection goes on.
  bool serve_peer(Peer& peer, std::uint32_t events, std::vector<char>& buffer) {
    const int socket = peer.socket.get();
    if (events & EPOLLOUT) {
      if (send(socket, buffer.data(), buffer.size(), MSG_NOSIGNAL) < 0 && errno != EAGAIN)
        return false;
      if (!(events & ~static_cast<std::uint32_t>(EPOLLOUT))) return true;
    }
    const ssize_t got = recv(socket, buffer.data(), buffer.size(), 0);
    if (got < 0) return errno == EAGAIN || broken(peer);
    if (got == 0) return ended(peer);
    const auto length = static_cast<std::size_t>(got);
    const bool first = peer.mode == 0;
    if (first) peer.mode = buffer.front();
    peer.received += length;
    switch (static_cast<Mode>(peer.mode)) {
      case Mode::upload:
      case Mode::duplex:
        counters_.bytes.fetch_add(length, std::memory_order_relaxed);
        return !first || hand_over(peer);
      case Mode::echo:
        return send(socket, buffer.data(), length, MSG_NOSIGNAL) == got;
      case Mode::request:
        if (peer.received < request_bytes) return true;
        send(socket, buffer.data(), response_bytes, MSG_NOSIGNAL);
        return false;
      case Mode::client_ends:
        return true;
      case Mode::server_ends:
        if (!first) {
          counters_.late.fetch_add(length);
          return true;
        }
        return send(socket, "k", 1, MSG_NOSIGNAL) == 1 && shutdown(socket, SHUT_WR) == 0;
      case Mode::client_resets:
        return send(socket, "k", 1, MSG_NOSIGNAL) == 1;
      case Mode::server_resets:
        reset_on_close(peer.socket);
        return false;
    }
    return false;
  }

  // To the bulk thread. The peer must not be touched afterwards by this one.
  bool hand_over(Peer& peer) {
    epoll_ctl(small_.get(), EPOLL_CTL_DEL, peer.socket.get(), nullptr);
    const bool duplex = static_cast<Mode>(peer.mode) == Mode::duplex;
    watch(bulk_, peer.socket, duplex ? EPOLLIN | EPOLLOUT : EPOLLIN, &peer);
    return true;
  }

  bool ended(Peer& peer) {
    if (static_cast<Mode>(peer.mode) == Mode::client_ends)
      send(peer.socket.get(), &peer.received, sizeof peer.received, MSG_NOSIGNAL);
    if (static_cast<Mode>(peer.mode) == Mode::client_resets) counters_.ends.fetch_add(1);
    return false;
  }

  bool broken(Peer& peer) {
    if (static_cast<Mode>(peer.mode) == Mode::client_resets && errno == ECONNRESET)
      counters_.resets.fetch_add(1);
    return false;
  }

  Counters& counters_;
  Fd listener_;
  Fd small_;
  Fd bulk_;
};

}  // namespace

void serve(std::uint16_t port, Counters& counters) {
  raise_descriptor_limit();
  Server server(port, counters);
  std::thread([port, &counters] { serve_udp(port, counters); }).detach();
  server.run();
}

}  // namespace vf::load
