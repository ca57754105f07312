// SPDX-License-Identifier: LGPL-2.1-or-later

#include "relay/connection.h"

#include <fcntl.h>
#include <netinet/tcp.h>
#include <sys/epoll.h>
#include <sys/socket.h>

#include <algorithm>
#include <cerrno>
#include <utility>

namespace vf {
namespace {

constexpr std::uint32_t both_ways = EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET;

// How much of a bulk transfer is done before others are looked at: more where nobody was in a hurry
// lately, for each look costs a system call.
constexpr std::size_t bulk_step = 1 << 20;
constexpr std::size_t small_step = 64 << 10;
constexpr std::chrono::milliseconds starved_delay{100};

void set_option(int fd, int level, int name, int value) {
  setsockopt(fd, level, name, &value, sizeof value);
}

// What close() then sends is a reset.
void reset_on_close(int fd) {
  const linger now{1, 0};
  setsockopt(fd, SOL_SOCKET, SO_LINGER, &now, sizeof now);
}

int pending_error(int fd) {
  int error_number = 0;
  socklen_t length = sizeof error_number;
  if (getsockopt(fd, SOL_SOCKET, SO_ERROR, &error_number, &length) < 0) return errno;
  return error_number;
}

}  // namespace

Connection::Connection(RelayContext& context, Owner& owner,
                       std::shared_ptr<const RelayTarget> target, Fd client)
    : Timer(context.loop), context_(context), owner_(owner), target_(std::move(target)) {
  client_.fd = std::move(client);
}

Connection::~Connection() {
  context_.loop.forget(*this);
  flow_.give_back(context_.loop.buffers());
}

void Connection::start() {
  const auto watched = context_.loop.watch(client_.fd.get(), both_ways, client_);
  if (!watched || target_->endpoints.empty()) return end(true);
  connect();
}

void Connection::connect() {
  int error_number = 0;
  for (; endpoint_ < target_->endpoints.size(); ++endpoint_) {
    error_number = try_connect(target_->endpoints[endpoint_]);
    if (error_number == EINPROGRESS) return arm(connect_timeout);
    if (error_number == 0) return connected();
  }
  guest_.fd.reset();
  owner_.missed_guest(error_number);
  end(true);
}

int Connection::try_connect(const Endpoint& endpoint) {
  const SocketAddress address = SocketAddress::from(endpoint.address, endpoint.port);
  guest_.fd.reset(socket(address.storage.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
  if (!guest_.fd) return errno;
  const int fd = guest_.fd.get();
  set_option(fd, IPPROTO_TCP, TCP_NODELAY, 1);
  set_option(fd, SOL_SOCKET, SO_KEEPALIVE, 1);
  const int error_number = ::connect(fd, address.get(), address.length) < 0 ? errno : 0;
  if (error_number != 0 && error_number != EINPROGRESS) return error_number;
  if (!context_.loop.watch(fd, both_ways, guest_)) return ENOSPC;
  return error_number;
}

void Connection::connected() {
  disarm();
  state_ = State::flowing;
  target_.reset();
  flow_.writable(Side::guest);
  flow_.writable(Side::client);
  owner_.reached_guest();
  pump();
}

void Connection::connect_failed(int error_number) {
  disarm();
  guest_.fd.reset();
  if (++endpoint_ < target_->endpoints.size()) return connect();
  owner_.missed_guest(error_number);
  end(true);
}

void Connection::expired() {
  if (state_ == State::connecting) connect_failed(ETIMEDOUT);
  if (state_ == State::flowing) pump();
}

void Connection::ready(Side side, std::uint32_t events) {
  if (state_ == State::ended) return;
  if (state_ == State::connecting && side == Side::guest) {
    if (!guest_.fd) return;  // of the endpoint tried before
    if (events & (EPOLLERR | EPOLLHUP)) {
      const int error_number = pending_error(guest_.fd.get());
      return connect_failed(error_number != 0 ? error_number : ECONNRESET);
    }
    if (!(events & EPOLLOUT)) return;
  }
  if (events & EPOLLIN) flow_.readable(side);
  if (events & EPOLLOUT) flow_.writable(side);
  if (events & (EPOLLRDHUP | EPOLLHUP)) flow_.ended(side);
  if (events & EPOLLERR) flow_.broken(side);
  if (state_ == State::flowing) return pump();
  if (side == Side::guest) return connected();
  // The client is gone; one that has merely ended its direction still waits for an answer.
  if (events & EPOLLERR) end(true);
}

// Bulk waits for its turn, what is small is done at once.
void Connection::pump() {
  if (flow_.bulk()) return context_.loop.again(*this);
  context_.loop.hurry();
  carry_on();
}

void Connection::carry_on() {
  const std::size_t budget = context_.loop.hurried() ? small_step : bulk_step;
  const std::uint64_t to_guest = flow_.carried(Side::client);
  const std::uint64_t to_client = flow_.carried(Side::guest);
  const Flow::Outcome outcome = flow_.pump(*this, context_.loop.buffers(), budget);
  owner_.carried(flow_.carried(Side::client) - to_guest, flow_.carried(Side::guest) - to_client);
  switch (outcome) {
    case Flow::Outcome::waits:
      return;
    case Flow::Outcome::more:
      return context_.loop.again(*this);
    case Flow::Outcome::starved:
      return arm(starved_delay);
    case Flow::Outcome::over:
      return end(false);
    case Flow::Outcome::reset:
      return end(true);
  }
}

void Connection::end(bool reset) {
  if (std::exchange(state_, State::ended) == State::ended) return;
  disarm();
  context_.loop.forget(*this);
  for (const Side side : {Side::client, Side::guest}) {
    if (!at(side).fd) continue;
    if (reset) reset_on_close(at(side).fd.get());
    at(side).fd.reset();
  }
  flow_.give_back(context_.loop.buffers());
  context_.descriptors.give_back(2);
  owner_.ended(*this);
}

ssize_t Connection::read(Side side, std::span<std::uint8_t> into) {
  return recv(at(side).fd.get(), into.data(), into.size(), 0);
}

ssize_t Connection::write(Side side, std::span<const std::uint8_t> from) {
  return send(at(side).fd.get(), from.data(), from.size(), MSG_NOSIGNAL);
}

ssize_t Connection::read(Side side, Pipe& into) {
  return splice(at(side).fd.get(), nullptr, into.in.get(), nullptr, Pipe::capacity,
                SPLICE_F_MOVE | SPLICE_F_NONBLOCK);
}

ssize_t Connection::write(Side side, Pipe& from, std::size_t count) {
  return splice(from.out.get(), nullptr, at(side).fd.get(), nullptr, count,
                SPLICE_F_MOVE | SPLICE_F_NONBLOCK);
}

int Connection::shut_down_write(Side side) {
  return shutdown(at(side).fd.get(), SHUT_WR);
}

}  // namespace vf
