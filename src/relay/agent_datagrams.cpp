// SPDX-License-Identifier: LGPL-2.1-or-later

#include "relay/agent_datagrams.h"

#include <sys/epoll.h>
#include <sys/socket.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <utility>

namespace vf {
namespace {

constexpr std::uint32_t both_ways = EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET;
constexpr std::size_t length_bytes = 2;
// Of memory, by a client that has nothing under way.
constexpr std::size_t kept_bytes = 2048;
// Reads of a turn; more are found by trying again.
constexpr int reads_per_turn = 16;

}  // namespace

AgentDatagrams::AgentDatagrams(RelayContext& context, AgentAccess& access, Owner& owner)
    : Timer(context.loop), context_(context), access_(access), owner_(owner) {}

int AgentDatagrams::start(const AgentEndpoint& target) {
  int error_number = 0;
  auto way = access_.way(error_number);
  if (!way) return error_number;
  const auto address = socket_address(way->agent);
  if (!address) return EINVAL;
  fd_.reset(socket(address->storage.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
  if (!fd_) return errno;
  error_number = ::connect(fd_.get(), address->get(), address->length) < 0 ? errno : 0;
  if (error_number != 0 && error_number != EINPROGRESS) {
    if (error_number != EAGAIN) access_.doubt(*way);
    fd_.reset();
    return error_number == EAGAIN ? EAGAIN : ENOTCONN;
  }
  if (!context_.loop.watch(fd_.get(), both_ways, *this)) {
    fd_.reset();
    return ENOSPC;
  }
  call_ = std::make_unique<AgentCall>(std::move(*way), GuestService::datagrams, target);
  arm(answer_timeout);
  if (error_number == 0) ask();
  return 0;
}

void AgentDatagrams::stop() {
  state_ = State::ended;
  disarm();
  fd_.reset();
  out_ = {};
  in_ = {};
}

bool AgentDatagrams::put(std::span<const std::uint8_t> datagram) {
  if (state_ == State::ended || datagram.size() > max_datagram_bytes) return false;
  if (!out_.empty() && out_.size() + length_bytes + datagram.size() > max_held_bytes) return false;
  out_.push_back(static_cast<std::uint8_t>(datagram.size()));
  out_.push_back(static_cast<std::uint8_t>(datagram.size() >> 8));
  out_.insert(out_.end(), datagram.begin(), datagram.end());
  if (writable_) send();
  return true;
}

void AgentDatagrams::ask() {
  state_ = State::asking;
  call_->say(fd_.get(), {});
  writable_ = call_->asked();
  if (writable_) send();
}

// An error is found by reading.
void AgentDatagrams::send() {
  std::size_t gone = 0;
  while (writable_ && gone < out_.size()) {
    const ssize_t sent =
        ::send(fd_.get(), out_.data() + gone, out_.size() - gone, MSG_NOSIGNAL | MSG_DONTWAIT);
    if (sent > 0) gone += static_cast<std::size_t>(sent);
    writable_ = sent >= 0 || errno == EINTR;
  }
  if (gone == out_.size() && out_.capacity() > kept_bytes)
    out_ = {};
  else
    out_.erase(out_.begin(), out_.begin() + static_cast<std::ptrdiff_t>(gone));
}

void AgentDatagrams::ready(std::uint32_t events) {
  if (state_ == State::ended) return;
  if (state_ == State::connecting) {
    if (events & (EPOLLERR | EPOLLHUP)) return end(ENOTCONN);
    if (!(events & EPOLLOUT)) return;
    ask();
  }
  if (state_ == State::asking) {
    if (!call_->asked()) ask();
    const int error_number = call_->answer(fd_.get());
    if (error_number == EAGAIN) return;
    if (error_number != 0) return end(error_number);
    state_ = State::open;
    disarm();
  }
  if (events & EPOLLOUT) {
    writable_ = true;
    send();
  }
  receive();
}

void AgentDatagrams::receive() {
  std::array<std::uint8_t, 64 << 10> bytes;
  for (int reads = 0; reads < reads_per_turn && state_ == State::open; ++reads) {
    const ssize_t got = recv(fd_.get(), bytes.data(), bytes.size(), MSG_DONTWAIT);
    if (got < 0 && errno == EINTR) continue;
    if (got < 0 && errno == EAGAIN) return;
    if (got <= 0) return end(ENOTCONN);
    in_.insert(in_.end(), bytes.begin(), bytes.begin() + got);
    if (!take_datagrams()) return end(EPROTO);
  }
  // The event is used up, so another is asked for.
  if (state_ == State::open) context_.loop.change(fd_.get(), both_ways, *this);
}

// False for what no agent says.
bool AgentDatagrams::take_datagrams() {
  std::size_t begin = 0;
  while (state_ == State::open && in_.size() - begin >= length_bytes) {
    const std::size_t length = in_[begin] | std::size_t{in_[begin + 1]} << 8;
    if (length > max_datagram_bytes) return false;
    if (in_.size() - begin - length_bytes < length) break;
    owner_.came(std::span(in_).subspan(begin + length_bytes, length));
    begin += length_bytes + length;
  }
  if (state_ != State::open || begin == in_.size())
    in_ = {};
  else
    in_.erase(in_.begin(), in_.begin() + static_cast<std::ptrdiff_t>(begin));
  return true;
}

void AgentDatagrams::end(int error_number) {
  if (state_ == State::ended) return;
  if (error_number == ENOTCONN || error_number == ESTALE) access_.doubt(call_->way());
  stop();
  owner_.failed(error_number == ESTALE ? ENOTCONN : error_number);
}

}  // namespace vf
