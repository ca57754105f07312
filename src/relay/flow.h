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
// Later: a direction that keeps filling its buffer will be carried by splice() through a pipe;
// pump() is where it chooses, and `buffered` then counts what is in the pipe.

#pragma once

#include <sys/types.h>

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>

#include "relay/buffer_pool.h"

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
  void broken(Side side) { sides_[index(side)].broken = sides_[index(side)].readable = true; }

  // Does what can be done without waiting, up to about `budget` bytes in each direction. After
  // `over` or `reset` nothing may be called but give_back().
  Outcome pump(FlowIo& io, BufferPool& pool, std::size_t budget);
  // Both buffers, when the flow ends early.
  void give_back(BufferPool& pool);

  DirectionState state(Side from) const { return directions_[index(from)].state; }
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
    DirectionState state = DirectionState::open;
    std::unique_ptr<Buffer> buffer;  // exists while it holds something
    std::uint32_t begin = 0;
    std::uint32_t end = 0;
    std::uint64_t carried = 0;
    std::size_t buffered() const { return end - begin; }
  };
  enum class Step : std::uint8_t { rest, read, write, shut_down };

  static constexpr std::size_t index(Side side) { return static_cast<std::size_t>(side); }
  Step next(Side from) const;
  // False when the budget ended before the work.
  bool run(Side from, FlowIo& io, BufferPool& pool, std::size_t budget);
  std::size_t read(Side from, FlowIo& io, BufferPool& pool);
  void write(Side from, FlowIo& io, BufferPool& pool);
  void shut_down(Side from, FlowIo& io);
  void failed(Side side, bool& capable);
  bool must_reset() const;

  std::array<SideState, 2> sides_;
  std::array<Direction, 2> directions_;
  bool starved_ = false;
};

}  // namespace vf
