// SPDX-License-Identifier: LGPL-2.1-or-later
//
// A flow: the two directions of one relayed connection, as a state machine without descriptors.
//
// Theory of operation
//
// Each direction reads from its source side and writes to the other side, through at most one
// buffer. A direction reads only while its buffer is empty and then writes until it is empty again,
// so a reader that stalls stops its sender: the bound is one buffer per direction, plus what the
// kernel holds for the two sockets. A direction that has written all gives its buffer back, so an
// idle flow holds none.
//
//   open      reads and writes
//   draining  the source has ended (end of file); what is in the buffer is still written
//   shut      the end was passed on by shutdown(SHUT_WR); nothing more happens here
//
// The directions end one by one: half-closed stays half-closed for as long as the other direction
// runs. When both are shut, the flow is over.
//
// A reset on one side (ECONNRESET and its kin, EPOLLERR) is passed on as a reset of the other. What
// the broken side had sent before comes first, as far as the other side takes it without waiting:
// the kernel still delivers received bytes in front of the error, and a direct connection would
// have had them too. What was on its way *to* the broken side is lost, as it would be without a
// relay. The first error is remembered here, because a socket reports it once and then claims an
// orderly end.
//
// Events are edges: a side is taken to be readable (writable) from the event that says so until a
// call shows that it is not. A read or write that did less than it was asked to shows it too, and
// saves the call that would have returned EAGAIN; but once the peer has ended, reads go on until
// they return the end, for no further edge will tell.
//
// Small transfers are copied through a buffer: two system calls. A direction that keeps filling
// much of its buffer is bulk: it is carried by splice() through a pipe, without touching the bytes,
// until it gets little again. Both are the same machine; `buffered` is what buffer or pipe holds. A
// short splice() says nothing about what is left (a pipe is full of pieces, not of bytes), so only
// EAGAIN ends the readiness of a side there. A source that cannot be spliced (EINVAL) stays with
// copies, and so does one that sent urgent data, whose byte is carried in its place in the stream
// without its mark; splice() would stop in front of it, and says 0 there once the end has come
// behind it. So only a copying read is believed about the end.

#pragma once

#include <sys/types.h>

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>

#include "flow/buffer_pool.h"

namespace vf {

enum class Side : std::uint8_t { client, guest };

constexpr Side other(Side side) {
  return side == Side::client ? Side::guest : Side::client;
}

// The calls that a flow makes on its two sides. As recv(), send() and shutdown(): -1 and errno.
class FlowIo {
 public:
  virtual ~FlowIo() = default;
  virtual ssize_t read(Side side, std::span<std::uint8_t> into) = 0;
  virtual ssize_t write(Side side, std::span<const std::uint8_t> from) = 0;
  // As splice(), from the side into the pipe and out of it.
  virtual ssize_t read(Side side, Pipe& into, std::size_t most) = 0;
  virtual ssize_t write(Side side, Pipe& from, std::size_t count) = 0;
  virtual int shut_down_write(Side side) = 0;
};

class Flow {
 public:
  enum class DirectionState : std::uint8_t { open, draining, shut };

  enum class Outcome : std::uint8_t {
    waits,    // for an event
    more,     // the budget is used up: pump again, without an event
    starved,  // the kernel is short of memory: pump again after a while, without an event
    over,     // both ends were passed on: close both sides
    reset,    // a side broke: reset the other, or both
  };

  // Events. Any order, any number; before the first pump() too.
  void readable(Side side) { sides_[index(side)].readable = true; }
  void writable(Side side) { sides_[index(side)].writable = true; }
  // The side has sent its end, which is still to be read.
  void ended(Side side) { sides_[index(side)].ended = sides_[index(side)].readable = true; }
  // It sent urgent data: a splice() would stop in front of it for ever, a read stops there once.
  void urgent(Side side) {
    directions_[index(side)].copies_only = true;
    readable(side);
  }
  void broken(Side side) { sides_[index(side)].broken = sides_[index(side)].readable = true; }

  // Does what can be done without waiting, up to about `budget` bytes in each direction. After
  // `over` or `reset` nothing may be called but give_back().
  Outcome pump(FlowIo& io, BufferPool& pool, std::size_t budget);
  // All buffers and pipes, when the flow ends early.
  void give_back(BufferPool& pool);

  // Bytes that go to the guest before any of the client's. Only before the first pump(); at most a
  // buffer's capacity.
  void preface(std::span<const std::uint8_t> bytes, BufferPool& pool);

  DirectionState state(Side from) const { return directions_[index(from)].state; }
  // Whether a direction is in bulk: a turn of it takes its time.
  bool bulk() const { return directions_[0].bulk() || directions_[1].bulk(); }
  // Bytes that were read and not yet written.
  std::size_t buffered(Side from) const { return directions_[index(from)].buffered(); }
  // Bytes written to the other side so far.
  std::uint64_t carried(Side from) const { return directions_[index(from)].carried; }

 private:
  struct SideState {
    bool readable = false;
    bool writable = false;
    bool ended = false;   // no further edge announces the end: read until it comes
    bool broken = false;  // an error was seen
  };
  struct Direction {
    // Two large reads in a row make it bulk. That ends when small ones have come for a while: a
    // stream that is read as fast as it comes has them too.
    static constexpr int bulk_begins = 2;
    static constexpr int bulk_ends = -16;

    DirectionState state = DirectionState::open;
    std::int8_t score = 0;  // of large reads against small ones
    bool is_bulk = false;
    bool copies_only = false;
    std::uint32_t begin = 0;
    std::uint32_t end = 0;
    // While it holds something, one of them exists.
    std::unique_ptr<Buffer> buffer;
    std::unique_ptr<Pipe> pipe;
    std::uint64_t carried = 0;

    std::size_t buffered() const { return end - begin; }
    bool bulk() const { return is_bulk; }
    void holds(std::size_t count);
    void release(BufferPool& pool);
  };
  enum class Step : std::uint8_t { rest, read, write, shut_down };

  static constexpr std::size_t index(Side side) { return static_cast<std::size_t>(side); }
  Step next(Side from) const;
  // False when the budget ended before the work.
  bool run(Side from, FlowIo& io, BufferPool& pool, std::size_t budget);
  std::size_t read(Side from, FlowIo& io, BufferPool& pool, std::size_t most);
  void write(Side from, FlowIo& io, BufferPool& pool);
  void shut_down(Side from, FlowIo& io);
  void failed(Side side, bool& capable);
  bool must_reset() const;

  std::array<SideState, 2> sides_;
  std::array<Direction, 2> directions_;
  bool starved_ = false;
};

}  // namespace vf
