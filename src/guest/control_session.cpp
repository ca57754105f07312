// SPDX-License-Identifier: LGPL-2.1-or-later
//
// The control stream: tells the token and what listens, takes what the host wants.

#include <sys/socket.h>

#include <algorithm>
#include <cerrno>
#include <string>
#include <utility>
#include <vector>

#include "guest/log.h"
#include "guest/session.h"

namespace vf::guest {
namespace {

// What a host that does not read may leave here.
constexpr std::size_t max_queue_bytes = 2 << 20;
constexpr std::size_t read_bytes = 4096;
constexpr std::uint32_t both_ways = EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET;

class ControlSession final : public Session,
                             private Handler,
                             private Timer,
                             private Watch::Subscriber {
 public:
  ControlSession(Sessions& sessions, Fd host, std::uint16_t flags)
      : Session(sessions), Timer(sessions.loop()), host_(std::move(host)), flags_(flags) {}
  ~ControlSession() override {
    if (joined_) sessions_.watch().leave(*this);
  }

  void start() override {
    if (!send_reply(host_.get(), {}) || !sessions_.loop().watch(host_.get(), both_ways, *this))
      return end();
    // What wakes us up is known once the watch has begun.
    joined_ = true;
    queueing_ = true;
    sessions_.watch().join(*this);
    static RateLimit watchers;
    if (watchers.pass())
      log_line(LogLevel::info, "the host watches, by " + sessions_.watch().wake_up_source());
    std::vector<std::uint8_t> snapshot = std::exchange(queue_, {});
    say_hello();
    queue_.insert(queue_.end(), snapshot.begin(), snapshot.end());
    queueing_ = false;
    flush();
  }
  void config_changed() override {}

  bool wants_udp() const override { return (flags_ & guest_wants_udp) != 0; }
  void listens(const GuestListener& listener) override { add(GuestListens{listener}); }
  void gone(const ListenerKey& key) override { add(GuestGone{key}); }
  void synced(std::uint32_t left_out) override { add(GuestSnapshotEnd{left_out}); }
  void fallback_changed() override { say_hello(); }

 private:
  void ready(std::uint32_t events) override {
    if (ended_) return;
    if (events & EPOLLOUT) flush();
    if (!broken_ && (events & (EPOLLIN | EPOLLRDHUP | EPOLLHUP | EPOLLERR))) receive();
    if (broken_) end();
  }
  // A watch that tells cannot be left meanwhile.
  void expired() override {
    if (!broken_) flush();
    if (broken_) end();
  }

  void say_hello() {
    const auto period = sessions_.watch().fallback(wants_udp());
    add(GuestHello{sessions_.token(), static_cast<std::uint32_t>(period.count()),
                   "virt-forward-guest " VF_VERSION});
  }

  void add(const GuestFrame& frame) {
    if (broken_) return;
    const auto bytes = encode(frame);
    if (queue_.size() - sent_ + bytes.size() > max_queue_bytes) {
      log_line(LogLevel::warning, "the host does not read what it wanted to be told");
      return fail();
    }
    queue_.insert(queue_.end(), bytes.begin(), bytes.end());
    // Many frames of one look go out together.
    if (!queueing_ && !armed()) arm(std::chrono::microseconds(0));
  }
  void fail() {
    broken_ = true;
    arm(std::chrono::microseconds(0));
  }

  void flush() {
    while (sent_ < queue_.size()) {
      const ssize_t put = send(host_.get(), queue_.data() + sent_, queue_.size() - sent_,
                               MSG_NOSIGNAL | MSG_DONTWAIT);
      if (put < 0 && errno == EINTR) continue;
      if (put < 0 && errno == EAGAIN) return;
      if (put < 0) return fail();
      sent_ += static_cast<std::size_t>(put);
    }
    queue_ = {};
    sent_ = 0;
  }

  void receive() {
    std::uint8_t bytes[read_bytes];
    for (;;) {
      const ssize_t got = recv(host_.get(), bytes, sizeof bytes, MSG_DONTWAIT);
      if (got < 0 && errno == EINTR) continue;
      if (got < 0 && errno == EAGAIN) return;
      if (got <= 0) return fail();
      frames_.push(std::span(bytes).first(static_cast<std::size_t>(got)));
      if (!take_frames()) return fail();
    }
  }
  bool take_frames() {
    for (;;) {
      auto frame = frames_.next();
      if (!frame) return false;
      if (!*frame) return true;
      const auto* const wants = std::get_if<GuestWants>(&**frame);
      if (!wants) return false;
      const bool udp_before = wants_udp();
      flags_ = wants->flags;
      if (udp_before != wants_udp()) say_hello();
      sessions_.watch().wants_changed(*this, udp_before);
    }
  }

  void end() {
    if (std::exchange(ended_, true)) return;
    disarm();
    if (std::exchange(joined_, false)) sessions_.watch().leave(*this);
    host_.reset();
    sessions_.ended(*this);
  }

  Fd host_;
  std::uint16_t flags_;
  GuestFrameReader frames_;
  std::vector<std::uint8_t> queue_;
  std::size_t sent_ = 0;
  bool joined_ = false;
  bool queueing_ = false;
  bool broken_ = false;
  bool ended_ = false;
};

}  // namespace

std::unique_ptr<Session> make_control_session(Sessions& sessions, Fd host, std::uint16_t flags) {
  return std::make_unique<ControlSession>(sessions, std::move(host), flags);
}

}  // namespace vf::guest
