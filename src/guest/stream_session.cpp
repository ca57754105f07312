// SPDX-License-Identifier: LGPL-2.1-or-later
//
// A stream of the host, connected to a socket of the guest.

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <utility>
#include <vector>

#include "flow/flow.h"
#include "guest/session.h"
#include "guest/target.h"

namespace vf::guest {
namespace {

using std::chrono::milliseconds;

constexpr std::uint32_t both_ways = EPOLLIN | EPOLLOUT | EPOLLPRI | EPOLLRDHUP | EPOLLET;
// How much is carried in each direction before others have their turn.
constexpr std::size_t step = 1 << 20;
constexpr std::chrono::seconds connect_timeout{10};
constexpr milliseconds backlog_delay{10};
constexpr milliseconds starved_delay{100};

void set_option(int fd, int level, int name, int value) {
  setsockopt(fd, level, name, &value, sizeof value);
}

// Side::client is the host's stream.
class StreamSession final : public Session, private FlowIo, private Timer {
 public:
  StreamSession(Sessions& sessions, Fd host, AgentEndpoint target)
      : Session(sessions), Timer(sessions.loop()), target_(std::move(target)) {
    host_.fd = std::move(host);
  }
  ~StreamSession() override { flow_.give_back(sessions_.buffers()); }

  void start() override {
    if (!sessions_.loop().watch(host_.fd.get(), both_ways, host_)) return end(true);
    Resolved resolved = resolve(target_, false, sessions_.config());
    if (resolved.status != GuestStatus::ok) return refuse(resolved.status, resolved.error_number);
    endpoints_ = std::move(resolved.endpoints);
    connect_until_ = Clock::now() + connect_timeout;
    connect();
  }
  void config_changed() override {
    if (state_ == State::ended) return;
    for (const RelayEndpoint& one : endpoints_)
      if (!permitted(one, false, sessions_.config())) return end(true);
  }

 private:
  enum class State : std::uint8_t { connecting, flowing, ended };

  struct End final : Handler {
    End(StreamSession& its_session, Side its_side) : session(its_session), side(its_side) {}
    void ready(std::uint32_t events) override { session.ready(side, events); }
    StreamSession& session;
    Fd fd;
    Side side;
  };

  End& at(Side side) { return side == Side::client ? host_ : guest_; }

  void connect() {
    int error_number = ECONNREFUSED;
    for (; tried_ < endpoints_.size(); ++tried_) {
      error_number = try_connect(endpoints_[tried_]);
      if (error_number == 0) return connected();
      if (error_number == EINPROGRESS) return arm(connect_timeout);
      // A unix socket with a full backlog.
      if (error_number == EAGAIN && Clock::now() < connect_until_) return arm(backlog_delay);
    }
    refuse(GuestStatus::unreachable, error_number == EAGAIN ? ECONNREFUSED : error_number);
  }

  // 0, EINPROGRESS, or why not.
  int try_connect(const RelayEndpoint& endpoint) {
    const auto address = socket_address(endpoint);
    if (!address) return EINVAL;
    const int family = address->storage.ss_family;
    guest_.fd.reset(socket(family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
    if (!guest_.fd) return errno;
    const int fd = guest_.fd.get();
    is_tcp_ = family != AF_UNIX;
    if (is_tcp_) {
      set_option(fd, SOL_SOCKET, SO_OOBINLINE, 1);
      set_option(fd, IPPROTO_TCP, TCP_NODELAY, 1);
    }
    const int error_number = ::connect(fd, address->get(), address->length) < 0 ? errno : 0;
    if ((error_number == 0 || error_number == EINPROGRESS) &&
        sessions_.loop().watch(fd, both_ways, guest_))
      return error_number;
    guest_.fd.reset();
    return error_number == 0 || error_number == EINPROGRESS ? ENOSPC : error_number;
  }

  void connect_failed(int error_number) {
    guest_.fd.reset();
    if (++tried_ < endpoints_.size()) return connect();
    refuse(GuestStatus::unreachable, error_number);
  }

  void connected() {
    disarm();
    if (!send_reply(host_.fd.get(), {})) return end(true);
    state_ = State::flowing;
    flow_.writable(Side::guest);
    flow_.writable(Side::client);
    carry_on();
  }

  void refuse(GuestStatus status, int error_number) {
    sessions_.loop().unwatch(host_.fd.get());
    GuestReply reply;
    reply.status = status;
    reply.error_number = error_number;
    sessions_.refuse(std::move(host_.fd), reply);
    end(true);
  }

  void ready(Side side, std::uint32_t events) {
    if (state_ == State::ended) return;
    if (state_ == State::connecting && side == Side::guest) {
      if (!guest_.fd) return;  // of the endpoint tried before
      int error_number = 0;
      socklen_t length = sizeof error_number;
      getsockopt(guest_.fd.get(), SOL_SOCKET, SO_ERROR, &error_number, &length);
      // A service that resets at once was there.
      if (error_number != 0 && error_number != ECONNRESET && error_number != EPIPE)
        return connect_failed(error_number);
      if (error_number != 0)
        flow_.broken(side);
      else if (!(events & EPOLLOUT))
        return;
    }
    if (events & EPOLLPRI) flow_.urgent(side);
    if (events & EPOLLIN) flow_.readable(side);
    if (events & EPOLLOUT) flow_.writable(side);
    if (events & (EPOLLRDHUP | EPOLLHUP)) flow_.ended(side);
    if (events & EPOLLERR) flow_.broken(side);
    if (state_ == State::flowing) return carry_on();
    if (side == Side::guest) return connected();
    if (events & EPOLLERR) end(true);  // the host gave up
  }

  void expired() override {
    if (state_ == State::connecting && !guest_.fd) return connect();  // the backlog was full
    if (state_ == State::connecting) return connect_failed(ETIMEDOUT);
    if (state_ == State::flowing) carry_on();
  }

  void carry_on() {
    switch (flow_.pump(*this, sessions_.buffers(), step)) {
      case Flow::Outcome::waits:
        return;
      case Flow::Outcome::more:
        return arm(std::chrono::microseconds(0));
      case Flow::Outcome::starved:
        return arm(starved_delay);
      case Flow::Outcome::over:
        return end(false);
      case Flow::Outcome::reset:
        return end(true);
    }
  }

  void end(bool reset) {
    if (std::exchange(state_, State::ended) == State::ended) return;
    disarm();
    flow_.give_back(sessions_.buffers());
    if (reset && guest_.fd && is_tcp_) {
      const linger now{1, 0};
      setsockopt(guest_.fd.get(), SOL_SOCKET, SO_LINGER, &now, sizeof now);
    }
    // Closing the host's without shutdown() is the reset.
    host_.fd.reset();
    guest_.fd.reset();
    sessions_.ended(*this);
  }

  // The end of a host's stream that was reset looks like an orderly one, but nothing can be sent
  // any more. (Of a unix socket of the guest close() alone is the usual end.)
  ssize_t read(Side side, std::span<std::uint8_t> into) override {
    const int fd = at(side).fd.get();
    const ssize_t got = recv(fd, into.data(), into.size(), 0);
    if (got != 0 || side == Side::guest || flow_.state(Side::guest) == Flow::DirectionState::shut)
      return got;
    if (send(fd, "", 0, MSG_NOSIGNAL) == 0 || errno == EAGAIN) return 0;
    errno = ECONNRESET;
    return -1;
  }
  ssize_t write(Side side, std::span<const std::uint8_t> from) override {
    return send(at(side).fd.get(), from.data(), from.size(), MSG_NOSIGNAL);
  }
  // What comes from a vsock cannot be spliced, and what goes there goes page by page.
  ssize_t read(Side, Pipe&, std::size_t) override {
    errno = EINVAL;
    return -1;
  }
  ssize_t write(Side, Pipe&, std::size_t) override {
    errno = EINVAL;
    return -1;
  }
  int shut_down_write(Side side) override { return shutdown(at(side).fd.get(), SHUT_WR); }

  AgentEndpoint target_;
  std::vector<RelayEndpoint> endpoints_;
  std::size_t tried_ = 0;
  Clock::time_point connect_until_{};
  End host_{*this, Side::client};
  End guest_{*this, Side::guest};
  Flow flow_;
  bool is_tcp_ = true;
  State state_ = State::connecting;
};

}  // namespace

std::unique_ptr<Session> make_stream_session(Sessions& sessions, Fd host, AgentEndpoint target) {
  return std::make_unique<StreamSession>(sessions, std::move(host), std::move(target));
}

}  // namespace vf::guest
