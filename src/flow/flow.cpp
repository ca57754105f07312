// SPDX-License-Identifier: LGPL-2.1-or-later

#include "flow/flow.h"

#include <algorithm>
#include <cerrno>
#include <utility>

namespace vf {
namespace {

// From here on a splice() is cheaper than a copy; far below, the copy is.
constexpr std::size_t large_read = 32 * 1024;
constexpr std::size_t small_read = 8 * 1024;

}  // namespace

// What a read brought.
void Flow::Direction::holds(std::size_t count) {
  begin = 0;
  end = static_cast<std::uint32_t>(count);
  if (count >= large_read)
    score = static_cast<std::int8_t>(std::min(std::max<int>(score, 0) + 1, bulk_begins));
  else if (count < small_read)
    score = static_cast<std::int8_t>(is_bulk ? std::min<int>(score, 0) - 1 : 0);
  if (score >= bulk_begins) is_bulk = true;
  if (score <= bulk_ends) is_bulk = false;
}

void Flow::Direction::release(BufferPool& pool) {
  pool.give_back(std::move(buffer));
  pool.give_back(std::move(pipe), buffered() == 0);
}

Flow::Step Flow::next(Side from) const {
  const Direction& direction = directions_[index(from)];
  const SideState& source = sides_[index(from)];
  const SideState& sink = sides_[index(other(from))];
  if (direction.state == DirectionState::shut || sink.broken) return Step::rest;
  if (direction.buffered() > 0) return sink.writable ? Step::write : Step::rest;
  if (direction.state == DirectionState::draining)
    return source.broken ? Step::rest : Step::shut_down;
  return source.readable ? Step::read : Step::rest;
}

// A broken side is read to its end first; nothing is then left to do but what would wait.
bool Flow::must_reset() const {
  for (const Side side : {Side::client, Side::guest})
    if (sides_[index(side)].broken && next(side) == Step::rest) return true;
  return false;
}

Flow::Outcome Flow::pump(FlowIo& io, BufferPool& pool, std::size_t budget) {
  starved_ = false;
  bool done = run(Side::client, io, pool, budget);
  done = run(Side::guest, io, pool, budget) && done;
  if (must_reset()) return Outcome::reset;
  if (!done) return Outcome::more;
  if (directions_[0].state == DirectionState::shut && directions_[1].state == DirectionState::shut)
    return Outcome::over;
  // A side that the second direction found broken gives the first one something to read.
  if (starved_) return Outcome::starved;
  return next(Side::client) == Step::rest ? Outcome::waits : Outcome::more;
}

bool Flow::run(Side from, FlowIo& io, BufferPool& pool, std::size_t budget) {
  std::size_t done = 0;
  while (!starved_) {
    switch (next(from)) {
      case Step::rest:
        return true;
      case Step::read:
        if (done >= budget) return false;
        done += read(from, io, pool, budget - done);
        break;
      case Step::write:
        write(from, io, pool);
        break;
      case Step::shut_down:
        shut_down(from, io);
        break;
    }
  }
  return true;
}

// Of a read or write on `side`; `capable` is its readable or writable mark.
void Flow::failed(Side side, bool& capable) {
  switch (errno) {
    case EINTR:
      return;
    case ENOMEM:
    case ENOBUFS:
      starved_ = true;
      return;
    default:
      sides_[index(side)].broken = sides_[index(side)].readable = true;
      [[fallthrough]];
    case EAGAIN:
      capable = false;
  }
}

std::size_t Flow::read(Side from, FlowIo& io, BufferPool& pool, std::size_t most) {
  Direction& direction = directions_[index(from)];
  SideState& source = sides_[index(from)];
  if (direction.bulk() && !direction.copies_only) direction.pipe = pool.take_pipe();
  if (!direction.pipe) direction.buffer = pool.take();
  const ssize_t got = direction.pipe
                          ? io.read(from, *direction.pipe, std::min(most, Pipe::capacity))
                          : io.read(from, direction.buffer->bytes);
  if (got > 0) {
    const auto count = static_cast<std::size_t>(got);
    direction.holds(count);
    // In front of urgent data a read is short as well.
    const bool drained = direction.buffer && count < Buffer::capacity && !direction.copies_only;
    if (drained && !source.ended && !source.broken) source.readable = false;
    return count;
  }
  // A splice() says 0 in front of urgent data too, once the end has come behind it.
  if (direction.pipe && (got == 0 || errno == EINVAL))
    direction.copies_only = true;
  else if (got < 0)
    failed(from, source.readable);
  else
    direction.state = DirectionState::draining;
  direction.release(pool);
  return 0;
}

void Flow::write(Side from, FlowIo& io, BufferPool& pool) {
  Direction& direction = directions_[index(from)];
  SideState& sink = sides_[index(other(from))];
  ssize_t put = 0;
  if (direction.pipe) {
    put = io.write(other(from), *direction.pipe, direction.buffered());
  } else {
    const auto all = std::span<const std::uint8_t>(direction.buffer->bytes);
    put = io.write(other(from), all.subspan(direction.begin, direction.buffered()));
  }
  if (put < 0) return failed(other(from), sink.writable);
  direction.begin += static_cast<std::uint32_t>(put);
  direction.carried += static_cast<std::uint64_t>(put);
  if (direction.buffered() == 0)
    direction.release(pool);
  else if (direction.buffer)
    sink.writable = false;
}

void Flow::shut_down(Side from, FlowIo& io) {
  if (io.shut_down_write(other(from)) < 0)
    sides_[index(other(from))].broken = sides_[index(other(from))].readable = true;
  else
    directions_[index(from)].state = DirectionState::shut;
}

void Flow::give_back(BufferPool& pool) {
  for (Direction& direction : directions_)
    direction.release(pool);
}

void Flow::preface(std::span<const std::uint8_t> bytes, BufferPool& pool) {
  if (bytes.empty()) return;
  Direction& direction = directions_[index(Side::client)];
  direction.buffer = pool.take();
  std::ranges::copy(bytes, direction.buffer->bytes.begin());
  direction.end = static_cast<std::uint32_t>(bytes.size());
}

}  // namespace vf
