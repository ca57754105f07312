// SPDX-License-Identifier: LGPL-2.1-or-later
//
// Two sockets as the kernel has them, for a Flow: queues, windows, ends, resets and edges, with
// every byte checked. An edge is lost by whoever does not act on it, as with epoll.

#pragma once

#include <gtest/gtest.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <functional>
#include <map>
#include <vector>

#include "flow/flow.h"

namespace vf::test {

// The byte at each place of a direction is a function of the place.
class Pattern {
 public:
  static const std::uint8_t* at(std::uint64_t offset, Side from) {
    static const std::vector<std::uint8_t> bytes = [] {
      std::vector<std::uint8_t> all(period * 2 + Buffer::capacity);
      for (std::size_t i = 0; i < all.size(); ++i)
        all[i] = static_cast<std::uint8_t>(i % period);
      return all;
    }();
    return bytes.data() + (offset + (from == Side::guest ? 97u : 0u)) % period;
  }

 private:
  static constexpr std::size_t period = 251;
};

class FlowModel final : public FlowIo {
 public:
  struct Socket {
    std::uint64_t sent = 0;   // by the peer
    std::uint64_t read = 0;   // of that, by the flow
    bool peer_ended = false;  // after `sent`
    bool end_read = false;
    bool broken = false;         // reset by the peer
    bool error_pending = false;  // not yet reported
    std::size_t window = 0;      // what a write would take now
    std::uint64_t written = 0;   // by the flow
    bool was_full = true;        // a write or a poll found no room: room is an edge
    bool shut = false;           // by the flow
    bool splices = true;         // as a source
  };

  Flow flow;
  BufferPool pool;
  Flow::Outcome outcome = Flow::Outcome::waits;
  // An errno that the next read or write is to fail with, or 0. Empty: never.
  std::function<int()> fault;
  // Of what one splice() moves: the kernel counts pieces, not bytes.
  std::size_t most_spliced = Pipe::capacity;

  Socket& at(Side side) { return sockets_[static_cast<std::size_t>(side)]; }
  bool finished() const {
    return outcome == Flow::Outcome::over || outcome == Flow::Outcome::reset;
  }

  // What peers do; each makes the edges that the kernel would make.
  void send(Side side, std::size_t count) {
    Socket& socket = at(side);
    if (socket.peer_ended || socket.broken) return;
    socket.sent += count;
    edge(side);
  }
  void end(Side side) {
    Socket& socket = at(side);
    if (socket.peer_ended || socket.broken) return;
    socket.peer_ended = true;
    edge(side);
  }
  void reset(Side side) {
    Socket& socket = at(side);
    if (socket.broken) return;
    socket.broken = socket.error_pending = true;
    edge(side);
  }
  // A reset that calls may meet before its edge comes, with the next edges of that side.
  void reset_unseen(Side side) {
    Socket& socket = at(side);
    if (!socket.broken) socket.broken = socket.error_pending = true;
  }
  void late_edges() {
    for (const Side side : {Side::client, Side::guest})
      if (at(side).broken) edge(side);
  }
  void take(Side side, std::size_t count) {
    Socket& socket = at(side);
    socket.window += count;
    if (std::exchange(socket.was_full, false)) edge(side);
  }
  // As an EPOLL_CTL_ADD: what holds now is reported.
  void edge(Side side) {
    if (finished()) return;
    Socket& socket = at(side);
    if (socket.sent > socket.read) flow.readable(side);
    if (socket.window > 0 && !socket.broken) flow.writable(side);
    if (socket.window == 0) socket.was_full = true;
    if (socket.peer_ended || socket.broken) flow.ended(side);
    if (socket.error_pending) flow.broken(side);
  }

  // Pumps until the flow waits or is finished.
  void settle(std::size_t budget = Buffer::capacity) {
    for (int turns = 0; !finished(); ++turns) {
      ASSERT_LT(turns, 10'000) << "spins";
      outcome = flow.pump(*this, pool, budget);
      if (outcome != Flow::Outcome::waits) continue;
      if (!at(Side::client).broken && !at(Side::guest).broken) break;
      late_edges();
    }
    check();
  }

  // What holds whenever nothing is left to do.
  void check() {
    if (finished()) flow.give_back(pool);
    std::size_t expected_buffers = 0;
    for (const Side from : {Side::client, Side::guest}) {
      Socket& source = at(from);
      Socket& sink = at(other(from));
      const std::size_t held = finished() ? 0 : flow.buffered(from);
      expected_buffers += held > 0;
      if (!finished()) {
        ASSERT_EQ(source.read, sink.written + held);
        ASSERT_FALSE(source.broken || sink.broken) << "a reset was not passed on";
        if (held > 0) {
          ASSERT_EQ(sink.window, 0u) << "a write was forgotten";
        } else {
          ASSERT_EQ(source.read, source.sent) << "a read was forgotten";
        }
        ASSERT_EQ(sink.shut, source.peer_ended && held == 0) << "an end was forgotten";
      }
      if (outcome == Flow::Outcome::over) {
        ASSERT_TRUE(sink.shut && sink.written == source.sent);
      }
      if (outcome == Flow::Outcome::reset) {
        ASSERT_TRUE(source.broken || sink.broken);
        // What the broken side sent before is there, as far as it fits.
        if (source.broken && !sink.broken && sink.window > 0) {
          ASSERT_EQ(sink.written, source.sent);
        }
      }
    }
    ASSERT_EQ(pool.taken(), expected_buffers);
  }

 private:
  bool fails() {
    const int error_number = fault ? fault() : 0;
    if (error_number == 0) return false;
    errno = error_number;
    return true;
  }

  ssize_t read(Side side, std::span<std::uint8_t> into) override {
    if (fails()) return -1;
    Socket& socket = at(side);
    EXPECT_FALSE(socket.end_read) << "read after the end";
    if (socket.sent > socket.read) {
      const auto count = std::min<std::uint64_t>(into.size(), socket.sent - socket.read);
      std::memcpy(into.data(), Pattern::at(socket.read, side), count);
      socket.read += count;
      return static_cast<ssize_t>(count);
    }
    if (std::exchange(socket.error_pending, false)) {
      errno = ECONNRESET;
      return -1;
    }
    if (socket.peer_ended || socket.broken) {
      socket.end_read = true;
      return 0;
    }
    errno = EAGAIN;
    return -1;
  }

  ssize_t write(Side side, std::span<const std::uint8_t> from) override {
    if (fails()) return -1;
    Socket& socket = at(side);
    EXPECT_FALSE(socket.shut) << "written after the end";
    EXPECT_GT(from.size(), 0u);
    if (socket.broken) {
      errno = std::exchange(socket.error_pending, false) ? ECONNRESET : EPIPE;
      return -1;
    }
    const std::size_t count = std::min(from.size(), socket.window);
    socket.was_full = count < from.size();
    if (count == 0) {
      errno = EAGAIN;
      return -1;
    }
    EXPECT_EQ(std::memcmp(from.data(), Pattern::at(socket.written, other(side)), count), 0)
        << "bytes differ";
    socket.window -= count;
    socket.written += count;
    return static_cast<ssize_t>(count);
  }

  ssize_t read(Side side, Pipe& into, std::size_t wanted) override {
    if (fails()) return -1;
    Socket& socket = at(side);
    EXPECT_EQ(in_pipe_[&into], 0u) << "a pipe with something in it";
    if (!socket.splices) {
      errno = EINVAL;
      return -1;
    }
    EXPECT_GT(wanted, 0u);
    EXPECT_LE(wanted, Pipe::capacity);
    const std::size_t most = std::min(most_spliced, wanted);
    const std::size_t there = socket.sent - socket.read;
    if (there == 0) {
      errno = EAGAIN;
      if (std::exchange(socket.error_pending, false))
        errno = ECONNRESET;
      else if (socket.peer_ended || socket.broken)
        return 0;  // perhaps: a read has to tell
      return -1;
    }
    const std::size_t count = std::min(there, most);
    socket.read += count;
    in_pipe_[&into] = count;
    return static_cast<ssize_t>(count);
  }

  ssize_t write(Side side, Pipe& from, std::size_t count) override {
    if (fails()) return -1;
    EXPECT_EQ(in_pipe_[&from], count);
    Socket& socket = at(side);
    EXPECT_FALSE(socket.shut) << "written after the end";
    if (socket.broken) {
      errno = std::exchange(socket.error_pending, false) ? ECONNRESET : EPIPE;
      return -1;
    }
    const std::size_t moved = std::min({count, socket.window, most_spliced});
    socket.was_full = moved == 0;
    if (moved == 0) {
      errno = EAGAIN;
      return -1;
    }
    socket.window -= moved;
    socket.written += moved;
    in_pipe_[&from] -= moved;
    return static_cast<ssize_t>(moved);
  }

  int shut_down_write(Side side) override {
    Socket& socket = at(side);
    EXPECT_FALSE(socket.shut) << "ended twice";
    if (socket.broken) {
      errno = ENOTCONN;
      return -1;
    }
    EXPECT_EQ(socket.written, at(other(side)).sent) << "ended before the last byte";
    EXPECT_TRUE(at(other(side)).peer_ended) << "a reset was passed on as an end";
    socket.shut = true;
    return 0;
  }

  std::array<Socket, 2> sockets_;
  std::map<const Pipe*, std::size_t> in_pipe_;
};

}  // namespace vf::test
