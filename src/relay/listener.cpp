// SPDX-License-Identifier: LGPL-2.1-or-later

#include "relay/listener.h"

#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/epoll.h>
#include <sys/socket.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <chrono>
#include <utility>

#include "relay/log.h"

namespace vf {
namespace {

// An accept() that finds nobody still makes a socket first, so a round takes one client, and twice
// as many as the round before where that was not enough.
constexpr int max_batch = 32;
constexpr std::chrono::milliseconds pause_delay{100};
constexpr gint64 pause_log_interval = 10 * G_USEC_PER_SEC;

int option(int fd, int name) {
  int value = 0;
  socklen_t length = sizeof value;
  return getsockopt(fd, SOL_SOCKET, name, &value, &length) == 0 ? value : -1;
}

}  // namespace

bool Listener::serves(int fd) {
  if (option(fd, SO_TYPE) != SOCK_STREAM) return false;
  const int domain = option(fd, SO_DOMAIN);
  if (domain == AF_UNIX || domain == AF_VSOCK) return true;
  const int protocol = option(fd, SO_PROTOCOL);
  return (domain == AF_INET || domain == AF_INET6) &&
         (protocol == IPPROTO_TCP || protocol == IPPROTO_MPTCP);
}

Listener::Listener(RelayContext& context, Socket socket, OnClient on_client)
    : Timer(context.loop),
      context_(context),
      socket_(std::move(socket)),
      on_client_(std::move(on_client)) {}

Listener::~Listener() {
  stop();
}

Result<void> Listener::start() {
  const int fd = socket_->get();
  const int flags = fcntl(fd, F_GETFL);
  if (flags < 0 || fcntl(fd, F_SETFL, flags | O_NONBLOCK) < 0)
    return Unexpected(system_error(errno, "fcntl"));
  // Accepted sockets inherit these.
  const int yes = 1;
  setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &yes, sizeof yes);
  setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &yes, sizeof yes);
  setsockopt(fd, SOL_SOCKET, SO_OOBINLINE, &yes, sizeof yes);
  return context_.loop.watch(fd, EPOLLIN | EPOLLEXCLUSIVE, *this);
}

void Listener::stop() {
  if (!socket_) return;
  disarm();
  // Others hold the socket too, so letting go of it would leave it in the epoll set.
  if (!paused_) context_.loop.unwatch(socket_->get());
  socket_.reset();
}

// Level-triggered: what a turn leaves comes back in the next.
void Listener::ready(std::uint32_t) {
  const std::uint64_t last = std::exchange(round_, context_.loop.rounds());
  batch_ = round_ == last + 1 ? std::min(2 * batch_, max_batch) : 1;
  context_.hurry->note(context_.loop.now());
  for (int i = 0; i < batch_; ++i)
    if (!socket_ || paused_ || !accept_one()) return;
}

bool Listener::accept_one() {
  if (!context_.descriptors.take(2)) {
    pause(EMFILE);
    return false;
  }
  Fd client(accept4(socket_->get(), nullptr, nullptr, SOCK_NONBLOCK | SOCK_CLOEXEC));
  if (client) {
    on_client_(std::move(client));
    return true;
  }
  const int error_number = errno;
  context_.descriptors.give_back(2);
  switch (error_number) {
    case EAGAIN:
      return false;
    case EINTR:
    case ECONNABORTED:
    case EPROTO:
    case EPERM:
      return true;
    case EINVAL:  // whoever shares it has ended its listening, and will take it from us
      paused_ = true;
      context_.loop.unwatch(socket_->get());
      return false;
    default:
      pause(error_number);
      return false;
  }
}

void Listener::pause(int error_number) {
  static std::atomic<gint64> logged = 0;
  if (logged == 0 || context_.loop.now() - logged >= pause_log_interval) {
    logged = context_.loop.now();
    log_line(LogLevel::warning,
             "accepting paused" + log_field("error", system_error(error_number, "accept").message));
  }
  paused_ = true;
  context_.loop.unwatch(socket_->get());
  arm(pause_delay);
}

void Listener::expired() {
  paused_ = false;
  if (!start()) pause(ENOMEM);
}

}  // namespace vf
