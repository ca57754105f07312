// SPDX-License-Identifier: LGPL-2.1-or-later

#include "offload/redirect_failures.h"

#include <bpf/libbpf.h>

#include <cstring>
#include <utility>

namespace vf {

std::unique_ptr<RedirectFailures> RedirectFailures::open(int map, Told told) {
  std::unique_ptr<RedirectFailures> failures(new RedirectFailures(std::move(told)));
  failures->ring_ = ring_buffer__new(map, take, failures.get(), nullptr);
  if (!failures->ring_) return nullptr;
  failures->watch_ = watch_fd(ring_buffer__epoll_fd(failures->ring_), G_IO_IN,
                              [self = failures.get()](GIOCondition) { self->read(); });
  return failures;
}

RedirectFailures::~RedirectFailures() {
  watch_.reset();
  ring_buffer__free(ring_);
}

int RedirectFailures::take(void* self, void* data, std::size_t length) noexcept {
  redirect_failure failure{};
  if (length < sizeof failure) return 0;
  std::memcpy(&failure, data, sizeof failure);
  static_cast<RedirectFailures*>(self)->taken_.push_back(failure);
  return 0;
}

void RedirectFailures::read() {
  ring_buffer__consume(ring_);
  const Told told = told_;
  for (const redirect_failure& failure : std::exchange(taken_, {}))
    told(failure);
}

}  // namespace vf
