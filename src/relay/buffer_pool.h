// SPDX-License-Identifier: LGPL-2.1-or-later

#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <utility>
#include <vector>

namespace vf {

// What a direction of a flow holds between a read and the writes of what was read.
struct Buffer {
  static constexpr std::size_t capacity = 64 * 1024;
  std::array<std::uint8_t, capacity> bytes;
};

// Hands the buffer out first that came back last, whose memory is still in the cache. One thread.
class BufferPool {
 public:
  std::unique_ptr<Buffer> take() {
    ++taken_;
    if (spare_.empty()) return std::unique_ptr<Buffer>(new Buffer);
    std::unique_ptr<Buffer> buffer = std::move(spare_.back());
    spare_.pop_back();
    return buffer;
  }
  void give_back(std::unique_ptr<Buffer> buffer) {
    if (!buffer) return;
    --taken_;
    if (spare_.size() < max_spare) spare_.push_back(std::move(buffer));
  }

  // How many are in use.
  std::size_t taken() const { return taken_; }

 private:
  static constexpr std::size_t max_spare = 32;
  std::vector<std::unique_ptr<Buffer>> spare_;
  std::size_t taken_ = 0;
};

}  // namespace vf
