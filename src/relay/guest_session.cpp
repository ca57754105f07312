// SPDX-License-Identifier: LGPL-2.1-or-later

#include "relay/guest_session.h"

#include <fcntl.h>
#include <sys/socket.h>

#include <algorithm>
#include <cerrno>
#include <utility>

namespace vf {
namespace {

// What a frame costs beside its bytes.
constexpr std::size_t frame_cost = 32;
// An agent whose guest was reset says nothing, but its kernel answers this with a reset.
constexpr std::chrono::milliseconds heartbeat_interval{10'000};

}  // namespace

GuestSession::GuestSession(Fd control, RelayEndpoint agent, bool wants_udp,
                           std::shared_ptr<AgentAccess> access, ListenerLedger& ledger,
                           Observer& observer, GMainContext* context)
    : control_(std::move(control)),
      agent_(std::move(agent)),
      wants_udp_(wants_udp),
      access_(std::move(access)),
      ledger_(ledger),
      observer_(observer),
      context_(context) {
  const int flags = fcntl(control_.get(), F_GETFL);
  fcntl(control_.get(), F_SETFL, flags | O_NONBLOCK);
  GuestRequest request;
  request.service = GuestService::control;
  request.flags = wants_udp ? guest_wants_udp : std::uint16_t{0};
  const auto bytes = encode(request);
  unsent_.assign(bytes.begin(), bytes.end());
  deadline_ = after(
      hello_timeout, [this] { end(RelayGuestFault::ended, ETIMEDOUT); }, context_);
  listen();
  send();
}

void GuestSession::wants(bool udp) {
  if (std::exchange(wants_udp_, udp) == udp) return;
  if (!udp) {
    ledger_.all_udp_gone();
    observer_.news();
  }
  says_wants_ = true;
  send();
}

// An error is found by reading.
void GuestSession::send() {
  if (state_ == State::ended) return;
  if (unsent_.empty() && std::exchange(says_wants_, false))
    unsent_ = encode(GuestFrame(GuestWants{wants_udp_ ? guest_wants_udp : std::uint16_t{0}}));
  if (unsent_.empty()) return writable_.reset();
  const ssize_t sent = ::send(control_.get(), unsent_.data(), unsent_.size(), MSG_NOSIGNAL);
  if (sent < 0 && errno != EAGAIN && errno != EINTR) return writable_.reset();
  if (sent > 0) unsent_.erase(unsent_.begin(), unsent_.begin() + sent);
  if (unsent_.empty() && !says_wants_) return writable_.reset();
  if (!writable_)
    writable_ = watch_fd(
        control_.get(), G_IO_OUT, [this](GIOCondition) { send(); }, context_);
}

void GuestSession::listen() {
  readable_ = watch_fd(
      control_.get(), G_IO_IN, [this](GIOCondition) { read(); }, context_);
}

// Past its bound the agent waits for the next turn.
bool GuestSession::may_read() {
  constexpr auto turn_time = std::chrono::microseconds(turn).count();
  const gint64 now = g_get_monotonic_time();
  if (now - turn_began_ >= turn_time) {
    turn_began_ = now;
    allowance_ = std::max(allowance_, cost_per_turn);
  }
  if (allowance_ > 0) return true;
  readable_.reset();
  const auto left = std::chrono::microseconds(turn_began_ + turn_time - now);
  pause_ = after(
      std::chrono::ceil<std::chrono::milliseconds>(left), [this] { listen(); }, context_);
  return false;
}

// A piece at a time: others wait for this thread too.
void GuestSession::read() {
  if (!may_read()) return;
  std::array<std::uint8_t, 16 << 10> bytes;
  const ssize_t got =
      recv(control_.get(), bytes.data(), std::min(bytes.size(), allowance_), MSG_DONTWAIT);
  if (got < 0 && (errno == EAGAIN || errno == EINTR)) return;
  if (got <= 0) return end(RelayGuestFault::ended, got < 0 ? errno : 0);
  allowance_ -= static_cast<std::size_t>(got);
  const std::weak_ptr<int> alive = alive_;
  if (!take(std::span(bytes).first(static_cast<std::size_t>(got))) || alive.expired()) return;
  observer_.news();
}

bool GuestSession::take(std::span<const std::uint8_t> bytes) {
  if (state_ == State::asking && !take_reply(bytes)) return false;
  if (bytes.empty()) return true;
  frames_.push(bytes);
  for (;;) {
    auto frame = frames_.next();
    if (!frame) return not_understood();
    if (!*frame) return true;
    allowance_ -= std::min(allowance_, frame_cost);
    if (!take_frame(std::move(**frame))) return false;
  }
}

bool GuestSession::take_reply(std::span<const std::uint8_t>& bytes) {
  const auto taken = bytes.first(std::min(bytes.size(), reply_.size() - replied_));
  std::ranges::copy(taken, reply_.begin() + static_cast<std::ptrdiff_t>(replied_));
  replied_ += taken.size();
  bytes = bytes.subspan(taken.size());
  if (replied_ < reply_.size()) return true;
  const auto reply = decode_guest_reply(reply_);
  if (!reply) return not_understood();
  understood_ = *reply;
  if (reply->status != GuestStatus::ok) {
    end(RelayGuestFault::refused, reply->error_number);
    return false;
  }
  state_ = State::greeting;
  return true;
}

bool GuestSession::take_frame(GuestFrame frame) {
  if (auto* hello = std::get_if<GuestHello>(&frame)) return greet(std::move(*hello));
  if (state_ != State::up) return not_understood();
  if (auto* listens = std::get_if<GuestListens>(&frame)) {
    if (wants_udp_ || !listens->listener.key.udp) ledger_.listens(std::move(listens->listener));
  } else if (const auto* gone = std::get_if<GuestGone>(&frame)) {
    ledger_.gone(gone->key);
  } else if (const auto* end_of = std::get_if<GuestSnapshotEnd>(&frame)) {
    ledger_.complete(end_of->left_out);
  } else {
    return not_understood();
  }
  return true;
}

// A later one says that the token is another.
bool GuestSession::greet(GuestHello hello) {
  access_->open(agent_, hello.token, [this, context = context_, alive = std::weak_ptr(alive_)] {
    post(context, [this, alive] {
      if (!alive.expired()) end(RelayGuestFault::ended, ESTALE);
    });
  });
  if (std::exchange(state_, State::up) == State::up) return true;
  deadline_.reset();
  heartbeat_ = every(
      heartbeat_interval,
      [this] {
        says_wants_ = true;
        send();
      },
      context_);
  ledger_.begin();
  const std::weak_ptr<int> alive = alive_;
  observer_.up(hello);
  return !alive.expired();
}

bool GuestSession::not_understood() {
  end(RelayGuestFault::not_understood, 0);
  return false;
}

void GuestSession::end(RelayGuestFault fault, int error_number) {
  if (std::exchange(state_, State::ended) == State::ended) return;
  const bool replied = replied_ == reply_.size();
  for (Source* const source : {&readable_, &writable_, &pause_, &deadline_, &heartbeat_})
    source->reset();
  control_.reset();
  RelayGuestDown down;
  down.fault = fault;
  down.error_number = error_number;
  if (replied) {
    down.status = static_cast<std::uint16_t>(understood_.status);
    down.version = understood_.version;
  }
  observer_.down(std::move(down));
}

}  // namespace vf
