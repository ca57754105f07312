// SPDX-License-Identifier: LGPL-2.1-or-later
//
// Datagrams of one client, each with its length in front on the host's stream, from one socket in
// the guest. A stream that is full loses datagrams in the guest's socket, as a network would.

#include <netinet/in.h>
#include <sys/socket.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <utility>
#include <vector>

#include "guest/session.h"
#include "guest/target.h"

namespace vf::guest {
namespace {

constexpr std::uint32_t both_ways = EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET;
constexpr std::size_t length_bytes = 2;
constexpr std::size_t max_datagram = 65'507;
static_assert(length_bytes + max_datagram <= Buffer::capacity);
// Of either direction, before others have their turn.
constexpr int datagrams_per_turn = 64;

class DatagramSession final : public Session, private Timer {
 public:
  DatagramSession(Sessions& sessions, Fd host, AgentEndpoint target)
      : Session(sessions), Timer(sessions.loop()), target_(std::move(target)) {
    host_.fd = std::move(host);
  }
  ~DatagramSession() override { give_back(); }

  void start() override {
    Resolved resolved = resolve(target_, true, sessions_.config());
    endpoints_ = std::move(resolved.endpoints);
    int error_number = resolved.error_number;
    if (resolved.status == GuestStatus::ok && !open_next(error_number))
      resolved.status = GuestStatus::unreachable;
    if (resolved.status != GuestStatus::ok) return refuse(resolved.status, error_number);
    if (!send_reply(host_.fd.get(), {}) ||
        !sessions_.loop().watch(host_.fd.get(), both_ways, host_))
      return end();
  }
  void config_changed() override {
    for (const RelayEndpoint& one : endpoints_)
      if (!permitted(one, true, sessions_.config())) return end();
  }

 private:
  struct End final : Handler {
    explicit End(DatagramSession& its_session) : session(its_session) {}
    void ready(std::uint32_t) override { session.carry_on(); }
    DatagramSession& session;
    Fd fd;
  };

  // The next address of the target has its socket.
  bool open_next(int& error_number) {
    for (; next_ < endpoints_.size(); ++next_) {
      const auto address = socket_address(endpoints_[next_]);
      if (!address) continue;
      Fd fd(socket(address->storage.ss_family, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
      if (fd && ::connect(fd.get(), address->get(), address->length) == 0 &&
          sessions_.loop().watch(fd.get(), EPOLLIN | EPOLLET, guest_)) {
        if (guest_.fd) sessions_.loop().unwatch(guest_.fd.get());
        guest_.fd = std::move(fd);
        ++next_;
        return true;
      }
      error_number = errno;
    }
    return false;
  }

  void refuse(GuestStatus status, int error_number) {
    GuestReply reply;
    reply.status = status;
    reply.error_number = error_number;
    sessions_.refuse(std::move(host_.fd), reply);
    end();
  }

  void expired() override { carry_on(); }

  void carry_on() {
    if (ended_) return;
    const bool more_in = from_host();
    if (ended_) return;
    const bool more_out = to_host();
    if (!ended_ && (more_in || more_out)) arm(std::chrono::microseconds(0));
  }

  // True when the turn ended before the work.
  bool from_host() {
    for (int turn = 0; turn < datagrams_per_turn; ++turn) {
      if (!in_) in_ = sessions_.buffers().take();
      const std::span room = std::span(in_->bytes).subspan(in_filled_);
      const ssize_t got = recv(host_.fd.get(), room.data(), room.size(), 0);
      if (got < 0 && errno == EINTR) continue;
      if (got < 0 && errno == EAGAIN) {
        if (in_filled_ == 0) sessions_.buffers().give_back(std::move(in_));
        return false;
      }
      if (got <= 0) {
        end();
        return false;
      }
      in_filled_ += static_cast<std::size_t>(got);
      if (!take_datagrams()) {
        end();
        return false;
      }
    }
    return true;
  }

  // False where the host says what no host says.
  bool take_datagrams() {
    const std::uint8_t* const bytes = in_->bytes.data();
    std::size_t begin = 0;
    while (in_filled_ - begin >= length_bytes) {
      const std::size_t length = bytes[begin] | std::size_t{bytes[begin + 1]} << 8;
      if (length > max_datagram) return false;
      if (in_filled_ - begin - length_bytes < length) break;
      deliver({bytes + begin + length_bytes, length});
      begin += length_bytes + length;
    }
    std::memmove(in_->bytes.data(), bytes + begin, in_filled_ - begin);
    in_filled_ -= begin;
    return true;
  }

  // What the guest's socket does not take is lost. On the loopback a refusal is known at once: then
  // localhost is tried under its other address, as long as nobody has answered.
  void deliver(std::span<const std::uint8_t> datagram) {
    send(guest_.fd.get(), datagram.data(), datagram.size(), MSG_NOSIGNAL);
    if (answered_ || next_ >= endpoints_.size()) return;
    int error_number = 0;
    socklen_t length = sizeof error_number;
    getsockopt(guest_.fd.get(), SOL_SOCKET, SO_ERROR, &error_number, &length);
    if (error_number == ECONNREFUSED && open_next(error_number))
      send(guest_.fd.get(), datagram.data(), datagram.size(), MSG_NOSIGNAL);
  }

  bool to_host() {
    for (int turn = 0; turn < datagrams_per_turn; ++turn) {
      if (!flush()) return false;
      if (!out_) out_ = sessions_.buffers().take();
      const std::span room = std::span(out_->bytes).subspan(length_bytes);
      const ssize_t got = recv(guest_.fd.get(), room.data(), room.size(), 0);
      if (got < 0 && errno == EAGAIN) {
        sessions_.buffers().give_back(std::move(out_));
        return false;
      }
      if (got < 0) continue;  // an ICMP error, which ends nothing
      answered_ = true;
      out_->bytes[0] = static_cast<std::uint8_t>(got);
      out_->bytes[1] = static_cast<std::uint8_t>(got >> 8);
      out_begin_ = 0;
      out_end_ = length_bytes + static_cast<std::size_t>(got);
    }
    return true;
  }

  // True when everything has gone.
  bool flush() {
    while (out_begin_ < out_end_) {
      const ssize_t put = send(host_.fd.get(), out_->bytes.data() + out_begin_,
                               out_end_ - out_begin_, MSG_NOSIGNAL);
      if (put < 0 && errno == EINTR) continue;
      if (put < 0 && errno == EAGAIN) return false;
      if (put < 0) {
        end();
        return false;
      }
      out_begin_ += static_cast<std::size_t>(put);
    }
    out_begin_ = out_end_ = 0;
    return true;
  }

  void give_back() {
    sessions_.buffers().give_back(std::move(in_));
    sessions_.buffers().give_back(std::move(out_));
  }

  void end() {
    if (std::exchange(ended_, true)) return;
    disarm();
    give_back();
    host_.fd.reset();
    guest_.fd.reset();
    sessions_.ended(*this);
  }

  AgentEndpoint target_;
  std::vector<RelayEndpoint> endpoints_;
  std::size_t next_ = 0;
  End host_{*this};
  End guest_{*this};
  std::unique_ptr<Buffer> in_;
  std::unique_ptr<Buffer> out_;
  std::size_t in_filled_ = 0;
  std::size_t out_begin_ = 0;
  std::size_t out_end_ = 0;
  bool answered_ = false;
  bool ended_ = false;
};

}  // namespace

std::unique_ptr<Session> make_datagram_session(Sessions& sessions, Fd host, AgentEndpoint target) {
  return std::make_unique<DatagramSession>(sessions, std::move(host), std::move(target));
}

}  // namespace vf::guest
