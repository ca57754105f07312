// SPDX-License-Identifier: LGPL-2.1-or-later

#include "relay/connection.h"

#include <fcntl.h>
#include <linux/vm_sockets.h>
#include <netinet/tcp.h>
#include <sched.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <utility>

#include "relay/forward.h"
#include "relay/proxy_header.h"

namespace vf {
namespace {

constexpr std::uint32_t both_ways = EPOLLIN | EPOLLOUT | EPOLLPRI | EPOLLRDHUP | EPOLLET;

// How much a turn does in each direction. As long as nobody is in a hurry a bulk transfer goes on
// until it has to wait, for its bytes are in the cache; else it leaves room often: in the swift
// lane by small steps, in the bulk lane by letting the others have the processor.
constexpr std::size_t whole_step = 16 << 20;
constexpr std::size_t polite_step = 128 << 10;
constexpr std::size_t small_step = 32 << 10;
// What makes a connection change lanes: so many bytes in bulk, so many small turns.
constexpr std::uint32_t bulk_lane_bytes = 2 << 20;
constexpr std::uint32_t swift_lane_turns = 32;
constexpr std::chrono::milliseconds starved_delay{100};
constexpr std::chrono::milliseconds backlog_delay{10};
constexpr std::chrono::milliseconds longest_backlog_delay{100};
// Of what a client has said, before an agent has answered.
constexpr std::size_t max_early = 16 << 10;

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

int unread(int fd) {
  int count = 0;
  return ioctl(fd, FIONREAD, &count) < 0 ? 0 : count;
}

}  // namespace

Connection::Connection(RelayContext& context, Owner& owner,
                       std::shared_ptr<const RelayForward> forward,
                       std::shared_ptr<ForwardShare> share, Fd client)
    : Timer(context.loop),
      context_(context),
      owner_(owner),
      forward_(std::move(forward)),
      share_(std::move(share)) {
  client_.fd = std::move(client);
}

Connection::Connection(RelayContext& context, Owner& owner, MovingConnection moved)
    : Timer(context.loop),
      context_(context),
      owner_(owner),
      flow_(std::move(moved.flow)),
      idle_timeout_(moved.idle_timeout),
      active_(moved.active),
      by_agent_(moved.agent_life != 0),
      agent_life_(moved.agent_life),
      state_(State::flowing) {
  client_.fd = std::move(moved.client);
  guest_.fd = std::move(moved.guest);
}

Connection::~Connection() {
  context_.loop.forget(*this);
  if (state_ != State::moved) context_.descriptors.give_back(2);
  flow_.give_back(context_.loop.buffers());
}

void Connection::start() {
  const auto watched = context_.loop.watch(client_.fd.get(), both_ways, client_);
  if (!watched) return end(true);
  if (state_ == State::flowing) return resume();
  if (forward_->target.endpoints.empty()) return end(true);
  first_endpoint_ =
      share_->preference.first(forward_->target.endpoints.size(), context_.loop.now());
  connect();
}

void Connection::resume() {
  if (!context_.loop.watch(guest_.fd.get(), both_ways, guest_)) return end(true);
  // What happened on the way is found by trying.
  for (const Side side : {Side::client, Side::guest}) {
    flow_.readable(side);
    flow_.writable(side);
  }
  if (idle_timeout_ != 0) watch_idleness();
  context_.loop.again(*this);
}

MovingConnection Connection::take_apart() {
  disarm();
  context_.loop.forget(*this);
  context_.loop.unwatch(client_.fd.get());
  context_.loop.unwatch(guest_.fd.get());
  state_ = State::moved;
  return {{},
          {},
          std::move(client_.fd),
          std::move(guest_.fd),
          std::move(flow_),
          idle_timeout_,
          active_,
          agent_life_};
}

void MovingConnection::reset() {
  reset_on_close(client.get());
  reset_on_close(guest.get());
  client.reset();
  guest.reset();
}

const RelayEndpoint& Connection::endpoint() const {
  const auto& endpoints = forward_->target.endpoints;
  return endpoints[(first_endpoint_ + tried_endpoints_) % endpoints.size()];
}

bool Connection::is_last_endpoint() const {
  return tried_endpoints_ + 1 >= forward_->target.endpoints.size();
}

void Connection::connect() {
  if (connect_until_ == 0) {
    connect_began_ = g_get_monotonic_time();
    const auto limit = is_last_endpoint() ? connect_timeout : next_way_timeout;
    connect_until_ = connect_began_ + std::chrono::microseconds(limit).count();
  }
  const int error_number = try_connect();
  if (error_number == 0) return connected();
  if (error_number == EINPROGRESS)
    return arm(std::chrono::microseconds(connect_until_ - g_get_monotonic_time()));
  connect_failed(error_number);
}

// 0, EINPROGRESS, or why not.
int Connection::try_connect() {
  by_agent_ = std::holds_alternative<AgentEndpoint>(endpoint());
  if (!by_agent_) {
    const auto address = socket_address(endpoint());
    return address ? try_connect(*address) : EINVAL;
  }
  int error_number = 0;
  way_ = share_->domain->agent.way(error_number);
  if (!way_) return error_number;
  const auto address = socket_address(way_->agent);
  if (!address) return EINVAL;
  error_number = try_connect(*address);
  switch (error_number) {
    case 0:
    case EINPROGRESS:
    case EAGAIN:
    case EMFILE:
    case ENFILE:
    case ENOBUFS:
    case ENOMEM:
    case ENOSPC:
    case ETIMEDOUT:
      return error_number;
    default:  // nobody is there
      return ENOTCONN;
  }
}

int Connection::try_connect(const SocketAddress& address) {
  const int family = address.storage.ss_family;
  guest_.fd.reset(socket(family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
  if (!guest_.fd) return errno;
  const int fd = guest_.fd.get();
  if (family == AF_INET || family == AF_INET6) {
    set_option(fd, SOL_SOCKET, SO_KEEPALIVE, 1);
    set_option(fd, SOL_SOCKET, SO_OOBINLINE, 1);
  }
  if (family == AF_VSOCK) {
    constexpr timeval limit{connect_timeout.count(), 0};
    setsockopt(fd, AF_VSOCK, SO_VM_SOCKETS_CONNECT_TIMEOUT, &limit, sizeof limit);
  }
  const int error_number = ::connect(fd, address.get(), address.length) < 0 ? errno : 0;
  if (error_number != 0 && error_number != EINPROGRESS) {
    guest_.fd.reset();
    return error_number;
  }
  if (!context_.loop.watch(fd, both_ways, guest_)) {
    reset_on_close(fd);  // it may be connected already
    return ENOSPC;
  }
  return error_number;
}

void Connection::connected() {
  if (by_agent_) return ask();
  if (forward_->proxy_protocol)
    flow_.preface(proxy_header(client_.fd.get()), context_.loop.buffers());
  reached();
}

void Connection::reached() {
  disarm();
  state_ = State::flowing;
  idle_timeout_ = forward_->idle_timeout;
  active_ = context_.loop.now();
  const auto endpoints = forward_->target.endpoints.size();
  if (way_) agent_life_ = way_->life;
  forward_.reset();
  share_.reset();
  way_.reset();
  call_.reset();
  flow_.writable(Side::guest);
  flow_.writable(Side::client);
  owner_.reached_guest((first_endpoint_ + tried_endpoints_) % endpoints);
  if (idle_timeout_ != 0) watch_idleness();
  pump();
}

// A guest that does much at once is slow to answer, but its kernel has taken the connection.
void Connection::ask() {
  state_ = State::asking;
  call_events_ = 0;
  call_ =
      std::make_unique<AgentCall>(*way_, GuestService::stream, std::get<AgentEndpoint>(endpoint()));
  if (forward_->proxy_protocol) call_->lead_in(proxy_header(client_.fd.get()));
  if (is_last_endpoint())
    connect_until_ = connect_began_ + std::chrono::microseconds(agent_answer_timeout).count();
  arm(std::chrono::microseconds(std::max<gint64>(connect_until_ - g_get_monotonic_time(), 0)));
  say_early();
}

void Connection::say_early() {
  std::array<std::uint8_t, max_early> bytes;
  ssize_t got = 0;
  if (is_last_endpoint())
    got = recv(client_.fd.get(), bytes.data(), bytes.size(), MSG_PEEK | MSG_DONTWAIT);
  call_->say(guest_.fd.get(),
             std::span(bytes).first(static_cast<std::size_t>(std::max<ssize_t>(got, 0))));
}

void Connection::answered() {
  const int error_number = call_->answer(guest_.fd.get());
  if (error_number == EAGAIN) return;
  if (error_number != 0) return connect_failed(error_number);
  discard_early(call_->said_of_client());
  flow_.preface(call_->unsaid(), context_.loop.buffers());
  owner_.carried(call_->said_of_lead_in() + call_->said_of_client(), 0);
  // What came with the answer brings no further event.
  flow_.readable(Side::guest);
  if (call_events_ & (EPOLLRDHUP | EPOLLHUP)) flow_.ended(Side::guest);
  if (call_events_ & EPOLLERR) flow_.broken(Side::guest);
  reached();
}

// They were seen there and nobody else reads.
void Connection::discard_early(std::size_t count) {
  std::array<std::uint8_t, max_early> bytes;
  while (count > 0) {
    const ssize_t got = recv(client_.fd.get(), bytes.data(), std::min(count, bytes.size()), 0);
    if (got == 0 || (got < 0 && errno != EINTR)) return flow_.broken(Side::client);
    count -= static_cast<std::size_t>(std::max<ssize_t>(got, 0));
  }
}

// A unix socket with a full backlog says so at once, where TCP would try again by itself. An agent
// that is just starting, or has too much to do, is waited for if there is no other way.
bool Connection::try_again() {
  const gint64 now = g_get_monotonic_time();
  if (now >= connect_until_ || (by_agent_ && !is_last_endpoint())) return false;
  const std::chrono::microseconds waited(now - connect_began_);
  arm(std::clamp<std::chrono::microseconds>(waited / 4, backlog_delay, longest_backlog_delay));
  return true;
}

void Connection::connect_failed(int error_number) {
  disarm();
  const bool said_early = call_ && call_->said_of_client() > 0;
  if (by_agent_ && way_ && (error_number == ENOTCONN || error_number == ESTALE))
    share_->domain->agent.doubt(*way_);
  // ENOTCONN without a way: there is no agent to wait for.
  const bool agent_comes_back = error_number == ESTALE || error_number == EBUSY ||
                                (error_number == ENOTCONN && way_ && !said_early);
  const bool comes_back = error_number == EAGAIN || (by_agent_ && agent_comes_back);
  state_ = State::connecting;
  guest_.fd.reset();
  call_.reset();
  if (comes_back && try_again()) return;
  if (!is_last_endpoint()) {
    const auto endpoints = forward_->target.endpoints.size();
    // Nobody listening there is an answer, and a quick one: the way itself works.
    if (error_number != ECONNREFUSED)
      share_->preference.failed((first_endpoint_ + tried_endpoints_) % endpoints, endpoints,
                                context_.loop.now());
    ++tried_endpoints_;
    connect_until_ = 0;
    way_.reset();
    return connect();
  }
  if (by_agent_ && (error_number == EAGAIN || error_number == ESTALE)) error_number = ENOTCONN;
  owner_.missed_guest(error_number);
  end(true);
}

void Connection::expired() {
  if (state_ == State::connecting && !guest_.fd) return connect();  // to try again
  if (state_ == State::connecting || state_ == State::asking) return connect_failed(ETIMEDOUT);
  if (state_ != State::flowing) return;
  if (idle_timeout_ != 0 && context_.loop.now() - active_ >= gint64{idle_timeout_} * G_USEC_PER_SEC)
    return end(true);
  if (idle_timeout_ != 0) watch_idleness();
  pump();
}

// A first write goes out at once in any case, and many a connection makes only one. (The client's
// side has it from its listener.)
void Connection::no_delay() {
  if (std::exchange(no_delay_, true)) return;
  set_option(guest_.fd.get(), IPPROTO_TCP, TCP_NODELAY, 1);
}

bool Connection::fits_other_lane(std::uint64_t carried) {
  if (!context_.other_lane) return false;
  if (flow_.bulk() == context_.carries_bulk) {
    misplaced_ = 0;
    return false;
  }
  misplaced_ += context_.carries_bulk ? 1 : static_cast<std::uint32_t>(carried);
  return misplaced_ >= (context_.carries_bulk ? swift_lane_turns : bulk_lane_bytes) &&
         flow_.buffered(Side::client) == 0 && flow_.buffered(Side::guest) == 0;
}

void Connection::watch_idleness() {
  const gint64 idle = g_get_monotonic_time() - active_;
  arm(std::chrono::microseconds(
      std::max<gint64>(gint64{idle_timeout_} * G_USEC_PER_SEC - idle, 0)));
}

void Connection::ready(Side side, std::uint32_t events) {
  if (state_ == State::ended || state_ == State::moved) return;
  if (state_ == State::connecting && side == Side::guest) {
    if (!guest_.fd) return;  // of the endpoint tried before
    if (events & (EPOLLERR | EPOLLHUP)) {
      const int error_number = pending_error(guest_.fd.get());
      // A reset, other than a refusal, ends a connection that was there and may have said
      // something; where there is no TCP it is the refusal.
      const bool was_there = std::holds_alternative<Endpoint>(endpoint()) &&
                             (error_number == ECONNRESET || error_number == EPIPE);
      if (by_agent_ && error_number != ETIMEDOUT) return connect_failed(ENOTCONN);
      if (!was_there) return connect_failed(error_number != 0 ? error_number : ECONNRESET);
    }
    if (!(events & EPOLLOUT)) return;
    if (by_agent_) return connected();
  }
  if (state_ == State::asking && side == Side::guest) {
    if (!call_) return;
    call_events_ |= events;
    if (!call_->asked()) say_early();
    return answered();
  }
  if (events & EPOLLPRI) flow_.urgent(side);
  if (events & EPOLLIN) flow_.readable(side);
  if (events & EPOLLOUT) flow_.writable(side);
  if (events & (EPOLLRDHUP | EPOLLHUP)) flow_.ended(side);
  if (events & EPOLLERR) flow_.broken(side);
  if (state_ == State::flowing) {
    // It has said its end already, and now goes.
    if (by_agent_ && side == Side::guest &&
        flow_.state(Side::guest) != Flow::DirectionState::open &&
        flow_.state(Side::client) != Flow::DirectionState::shut && agent_is_gone(guest_.fd.get()))
      flow_.broken(Side::guest);
    return pump();
  }
  if (side == Side::guest) return connected();
  if (state_ == State::asking && (events & EPOLLIN)) say_early();
  // The client is gone; one that has merely ended its direction still waits for an answer, and
  // what it sent before it went is still due.
  if ((events & EPOLLERR) && unread(client_.fd.get()) == 0) end(true);
}

// Bulk waits for its turn, what is small is done at once.
void Connection::pump() {
  if (flow_.bulk()) return context_.loop.again(*this);
  if (!context_.carries_bulk) context_.hurry->note(context_.loop.now());
  carry_on();
}

// How much is done before others are looked at.
std::size_t Connection::step() const {
  if (!context_.hurry->lately(g_get_monotonic_time())) return whole_step;
  if (!context_.carries_bulk) return small_step;
  sched_yield();
  return polite_step;
}

void Connection::carry_on() {
  const std::size_t budget = step();
  const std::uint64_t to_guest = flow_.carried(Side::client);
  const std::uint64_t to_client = flow_.carried(Side::guest);
  if (to_guest > 0) no_delay();
  const Flow::Outcome outcome = flow_.pump(*this, context_.loop.buffers(), budget);
  owner_.carried(flow_.carried(Side::client) - to_guest, flow_.carried(Side::guest) - to_client);
  const std::uint64_t carried =
      flow_.carried(Side::client) + flow_.carried(Side::guest) - to_guest - to_client;
  if (carried > 0) active_ = context_.loop.now();
  const bool goes_on = outcome == Flow::Outcome::waits || outcome == Flow::Outcome::more;
  if (goes_on && fits_other_lane(carried)) return owner_.changes_lane(*this);
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

// After an orderly end the sockets are closed with this object, when nothing more urgent is left: a
// close() takes as long as half a connection.
void Connection::end(bool reset) {
  if (std::exchange(state_, State::ended) == State::ended) return;
  disarm();
  context_.loop.forget(*this);
  for (const Side side : {Side::client, Side::guest}) {
    if (!at(side).fd || !reset) continue;
    reset_on_close(at(side).fd.get());
    at(side).fd.reset();
  }
  flow_.give_back(context_.loop.buffers());
  owner_.ended(*this);
}

ssize_t Connection::read(Side side, std::span<std::uint8_t> into) {
  const int fd = at(side).fd.get();
  const ssize_t got = recv(fd, into.data(), into.size(), 0);
  if (got != 0 || !by_agent_ || side == Side::client) return got;
  if (flow_.state(Side::client) == Flow::DirectionState::shut || !agent_is_gone(fd)) return 0;
  errno = ECONNRESET;
  return -1;
}

ssize_t Connection::write(Side side, std::span<const std::uint8_t> from) {
  return send(at(side).fd.get(), from.data(), from.size(), MSG_NOSIGNAL);
}

// To and from a guest's agent there is nothing to gain by it.
ssize_t Connection::read(Side side, Pipe& into, std::size_t most) {
  if (by_agent_) {
    errno = EINVAL;
    return -1;
  }
  return splice(at(side).fd.get(), nullptr, into.in.get(), nullptr, most,
                SPLICE_F_MOVE | SPLICE_F_NONBLOCK);
}

ssize_t Connection::write(Side side, Pipe& from, std::size_t count) {
  return splice(from.out.get(), nullptr, at(side).fd.get(), nullptr, count,
                SPLICE_F_MOVE | SPLICE_F_NONBLOCK);
}

int Connection::shut_down_write(Side side) {
  // The second end is said by close(), but to an agent.
  const bool to_agent = by_agent_ && side == Side::guest;
  if (flow_.state(side) == Flow::DirectionState::shut && !to_agent) return 0;
  return shutdown(at(side).fd.get(), SHUT_WR);
}

}  // namespace vf
