// SPDX-License-Identifier: LGPL-2.1-or-later

#pragma once

#include <fcntl.h>
#include <unistd.h>

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <utility>
#include <vector>

#include "base/fd.h"

namespace vf {

// What a direction of a flow holds between a read and the writes of what was read.
struct Buffer {
  static constexpr std::size_t capacity = 64 * 1024;
  std::array<std::uint8_t, capacity> bytes;
};

// The same for a direction whose bytes stay in the kernel: splice() moves them in and out.
struct Pipe {
  // A process without privilege may have 64 MiB of such pipes (pipe-user-pages-soft), the pool's
  // bound is below that.
  static constexpr std::size_t capacity = 256 * 1024;
  Fd out;
  Fd in;
};

// Hands out first what came back last, whose memory is still in the cache. One thread.
class BufferPool {
 public:
  std::unique_ptr<Buffer> take() {
    ++taken_;
    return from(spare_, [] { return std::unique_ptr<Buffer>(new Buffer); });
  }
  void give_back(std::unique_ptr<Buffer> buffer) {
    if (!buffer) return;
    --taken_;
    if (spare_.size() < max_spare) spare_.push_back(std::move(buffer));
  }

  // Null where the bound is reached or the kernel gives none: a buffer does as well.
  std::unique_ptr<Pipe> take_pipe() {
    if (taken_pipes_ >= max_pipes) return nullptr;
    auto pipe = from(spare_pipes_, make_pipe);
    if (pipe) ++taken_pipes_;
    return pipe;
  }
  // One that is not empty cannot serve again.
  void give_back(std::unique_ptr<Pipe> pipe, bool empty) {
    if (!pipe) return;
    --taken_pipes_;
    if (empty && spare_pipes_.size() < max_spare_pipes) spare_pipes_.push_back(std::move(pipe));
  }

  // How many are in use, buffers and pipes.
  std::size_t taken() const { return taken_ + taken_pipes_; }

  // Descriptors that the pipes of a pool may hold.
  static constexpr std::size_t max_pipe_descriptors() { return 2 * max_pipes; }

 private:
  static constexpr std::size_t max_spare = 32;
  static constexpr std::size_t max_pipes = 64;
  static constexpr std::size_t max_spare_pipes = 8;

  template <typename Thing, typename Make>
  static std::unique_ptr<Thing> from(std::vector<std::unique_ptr<Thing>>& spare, Make make) {
    if (spare.empty()) return make();
    std::unique_ptr<Thing> thing = std::move(spare.back());
    spare.pop_back();
    return thing;
  }

  static std::unique_ptr<Pipe> make_pipe() {
    int ends[2];
    if (pipe2(ends, O_NONBLOCK | O_CLOEXEC) < 0) return nullptr;
    auto pipe = std::make_unique<Pipe>(Pipe{Fd(ends[0]), Fd(ends[1])});
    // A pipe of the usual 64 KiB would cost more than it saves.
    if (fcntl(ends[1], F_SETPIPE_SZ, static_cast<int>(Pipe::capacity)) < 0) return nullptr;
    return pipe;
  }

  std::vector<std::unique_ptr<Buffer>> spare_;
  std::vector<std::unique_ptr<Pipe>> spare_pipes_;
  std::size_t taken_ = 0;
  std::size_t taken_pipes_ = 0;
};

}  // namespace vf
