// SPDX-License-Identifier: LGPL-2.1-or-later
//
// Reads what redirect.bpf.c tells of connections that did not get through.

#pragma once

#include <functional>
#include <memory>
#include <vector>

#include "glib/source.h"
#include "offload/redirect_map.h"

struct ring_buffer;

namespace vf {

class RedirectFailures {
 public:
  using Told = std::function<void(const redirect_failure&)>;

  // Of the map, which stays the caller's. `told` is called from the main loop and may destroy this.
  // Null where the ring cannot be read.
  static std::unique_ptr<RedirectFailures> open(int map, Told told);
  ~RedirectFailures();
  RedirectFailures(const RedirectFailures&) = delete;
  RedirectFailures& operator=(const RedirectFailures&) = delete;

 private:
  explicit RedirectFailures(Told told) : told_(std::move(told)) {}
  static int take(void* self, void* data, std::size_t length) noexcept;
  void read();

  const Told told_;
  ring_buffer* ring_ = nullptr;
  std::vector<redirect_failure> taken_;
  Source watch_;
};

}  // namespace vf
