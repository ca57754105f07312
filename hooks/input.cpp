// SPDX-License-Identifier: LGPL-2.1-or-later

#include "hooks/input.h"

#include <poll.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>

namespace vf {

Input read_input(int fd, std::size_t limit, const Deadline& deadline) {
  constexpr std::size_t step = 64 << 10;  // what a pipe holds
  Input input;
  while (deadline.wait(fd, POLLIN)) {
    const std::size_t had = input.text.size();
    // One byte past the limit tells a longer input from one that ends there.
    input.text.resize(std::min(had + step, limit + 1));
    const ssize_t got = read(fd, input.text.data() + had, input.text.size() - had);
    input.text.resize(had + (got > 0 ? static_cast<std::size_t>(got) : 0));
    if (got < 0 && (errno == EINTR || errno == EAGAIN)) continue;
    if (got < 0) return input;
    if (got == 0) {
      input.complete = true;
      return input;
    }
    if (input.text.size() > limit) return input;
  }
  return input;
}

}  // namespace vf
