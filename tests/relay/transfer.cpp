// SPDX-License-Identifier: LGPL-2.1-or-later

#include "transfer.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/socket.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cmath>
#include <cstring>
#include <utility>

namespace vf::test {
namespace {

constexpr std::size_t period = 1'000'003;  // prime: no multiple of any buffer
constexpr std::size_t longest = 1 << 20;
constexpr int deadline_milliseconds = 20'000;

// One in `n`.
bool chance(Random& random, std::uint64_t n) {
  return random() % n == 0;
}

// Every order of magnitude is as likely as the others.
std::uint64_t magnitude(Random& random, std::uint64_t most) {
  const double exponent = std::uniform_real_distribution<double>(0, 1)(random);
  return static_cast<std::uint64_t>(std::pow(static_cast<double>(most + 1), exponent)) - 1;
}

class End {
 public:
  End(const char* name, Fd fd, const Script& script, Random& random)
      : name_(name), fd_(std::move(fd)), script_(script), random_(random) {
    fcntl(fd_.get(), F_SETFL, O_NONBLOCK);
  }

  void meet(End& other) { other_ = &other; }
  bool done() const { return !fd_; }
  const std::string& wrong() const { return wrong_; }
  bool was_reset() const { return error_ != 0; }

  pollfd watched() const {
    short events = 0;
    if (wants_to_read()) events |= POLLIN;
    if (wants_to_write()) events |= POLLOUT;
    return {fd_.get(), events, 0};
  }

  // Nothing else can happen: reads, though late.
  void hurry() { hurried_ = true; }

  void step(short events) {
    hurried_ = hurried_ && events == 0;
    if (events & POLLOUT) send_some();
    if (fd_ && (events & (POLLIN | POLLHUP | POLLERR))) receive_some();
    if (fd_ && ended_ && has_read_end_) fd_.reset();
  }

  std::string state() const {
    return std::string(name_) + ": " + script_.text() + ", sent " + std::to_string(sent_) +
           (ended_ ? " and ended" : "") + ", received " + std::to_string(received_) +
           (has_read_end_ ? " and the end" : "") + (blocked_ ? ", blocked" : "") +
           (error_ != 0 ? std::string(", ") + strerror(error_) : "");
  }

 private:
  std::uint64_t may_send() const {
    if (script_.waits_for_end && !has_read_end_) return script_.bytes / 2 - sent_;
    // Where it has waited until the other has all, it goes on.
    return (script_.reset_at ? *script_.reset_at : script_.bytes) - sent_;
  }
  bool wants_to_write() const {
    if (ended_ || error_ != 0) return false;
    if (quiet_until_read_ && !other_->done() && other_->received_ < sent_) return false;
    return may_send() > 0 || !(script_.waits_for_end && !has_read_end_);
  }
  bool wants_to_read() const {
    if (has_read_end_) return false;
    return !script_.reads_late || hurried_ || other_->blocked_ || other_->ended_ ||
           other_->done() || other_->quiet_until_read_ || other_->may_send() == 0;
  }

  void send_some() {
    quiet_until_read_ = false;
    const std::uint64_t left = may_send();
    if (left == 0) return end();
    const auto size = static_cast<std::size_t>(
        std::min<std::uint64_t>(left, 1 + magnitude(random_, script_.max_step - 1)));
    const auto bytes = stream(script_.begin, sent_, size);
    const ssize_t count = send(fd_.get(), bytes.data(), bytes.size(), MSG_NOSIGNAL);
    if (count < 0 && errno != EAGAIN) return broken(errno);
    blocked_ = count < static_cast<ssize_t>(size);
    if (count < 0) return;
    sent_ += static_cast<std::uint64_t>(count);
    quiet_until_read_ = chance(random_, 16);
    if (may_send() == 0) end();
  }

  void end() {
    if (script_.reset_at) {
      const linger now{1, 0};
      setsockopt(fd_.get(), SOL_SOCKET, SO_LINGER, &now, sizeof now);
      has_reset_ = true;
      fd_.reset();
    } else if (!script_.waits_for_end || has_read_end_) {
      shutdown(fd_.get(), SHUT_WR);
      ended_ = true;
    }
  }

  void receive_some() {
    static thread_local std::array<char, longest> buffer;
    const std::size_t size = 1 + magnitude(random_, longest - 1);
    const ssize_t count = recv(fd_.get(), buffer.data(), size, 0);
    if (count < 0) {
      if (errno != EAGAIN) broken(errno);
      return;
    }
    const Script& theirs = other_->script_;
    if (count == 0) {
      has_read_end_ = true;
      if (received_ < theirs.bytes || !other_->ended_)
        wrong_ = other_->has_reset_ ? "a reset arrived as an orderly end" : "the end came early";
      return;
    }
    const auto length = static_cast<std::size_t>(count);
    if (received_ + length > theirs.bytes)
      wrong_ = "more arrived than was sent";
    else if (stream(theirs.begin, received_, length) != std::string_view(buffer.data(), length))
      wrong_ = "other bytes arrived than were sent";
    received_ += length;
  }

  void broken(int error_number) {
    error_ = error_number;
    if (!other_->has_reset_ && !other_->was_reset()) first_ = true;
    const linger now{1, 0};  // as a program that sees an error would
    setsockopt(fd_.get(), SOL_SOCKET, SO_LINGER, &now, sizeof now);
    fd_.reset();
  }

 public:
  bool has_reset_ = false;
  bool first_ = false;  // an error came to it out of nowhere

 private:
  const char* name_;
  Fd fd_;
  Script script_;
  Random& random_;
  End* other_ = nullptr;
  std::uint64_t sent_ = 0;
  std::uint64_t received_ = 0;
  bool blocked_ = false;
  bool hurried_ = false;
  bool quiet_until_read_ = false;
  bool ended_ = false;
  bool has_read_end_ = false;
  int error_ = 0;
  std::string wrong_;
};

}  // namespace

std::string_view stream(std::uint64_t begin, std::uint64_t offset, std::size_t length) {
  static const std::string bytes = [] {
    std::string made(period, '\0');
    Random random(1);
    for (char& byte : made)
      byte = static_cast<char>(random());
    return made + made + made;  // longest is more than a period
  }();
  return std::string_view(bytes).substr((begin + offset) % period, length);
}

std::string Script::text() const {
  return std::to_string(bytes) + " bytes in steps of " + std::to_string(max_step) +
         (waits_for_end ? ", half of them after the other's end" : "") +
         (reads_late ? ", reads late" : "") +
         (reset_at ? ", reset at " + std::to_string(*reset_at) : "");
}

Scripts random_scripts(Random& random) {
  const auto script = [&] {
    Script one;
    one.bytes = magnitude(random, chance(random, 16) ? 8 << 20 : 512 << 10);
    one.begin = random() % period;
    if (chance(random, 8)) {
      one.max_step = 100;
      one.bytes = std::min<std::uint64_t>(one.bytes, 5'000);
    }
    one.reads_late = chance(random, 6);
    return one;
  };
  Scripts scripts{script(), script()};
  Script& one = chance(random, 2) ? scripts.client : scripts.server;
  if (chance(random, 3)) one.waits_for_end = true;
  if (chance(random, 4)) {
    one.reset_at = random() % (one.bytes + 1);
    one.waits_for_end = false;
  }
  return scripts;
}

Verdict transfer(Fd client_fd, Fd server_fd, const Scripts& scripts, Random& random,
                 Tolerance tolerance) {
  End client("client", std::move(client_fd), scripts.client, random);
  End server("server", std::move(server_fd), scripts.server, random);
  client.meet(server);
  server.meet(client);
  std::string wrong;
  while (wrong.empty() && !(client.done() && server.done())) {
    std::array<pollfd, 2> watched{client.watched(), server.watched()};
    if (poll(watched.data(), watched.size(), 20) == 0) {
      client.hurry();
      server.hurry();
      watched = {client.watched(), server.watched()};
      if (poll(watched.data(), watched.size(), deadline_milliseconds) == 0)
        wrong = "nothing happened for 20 s";
    }
    if (!client.done()) client.step(watched[0].revents);
    if (!server.done()) server.step(watched[1].revents);
    wrong += client.wrong() + server.wrong();
  }
  const bool was_reset = client.first_ || server.first_;
  if (wrong.empty() && was_reset && tolerance == Tolerance::none) wrong = "an error out of nowhere";
  if (!wrong.empty()) wrong += "\n  " + client.state() + "\n  " + server.state();
  return {wrong, was_reset};
}

}  // namespace vf::test
