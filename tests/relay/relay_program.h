// SPDX-License-Identifier: LGPL-2.1-or-later

#pragma once

#include <sys/types.h>

#include <cstddef>
#include <functional>
#include <vector>

#include "base/address.h"

namespace vf::test {

// virt-forward-relay in a process of its own, one forward for each target. Another relay takes its
// place, to see a test fail, where the environment has its command for one forward:
//
//   VF_TEST_RELAY='socat TCP-LISTEN:{listen},fork,reuseaddr TCP:127.0.0.1:{target}'
class RelayProgram {
 public:
  // `prepare` runs in the child.
  explicit RelayProgram(
      const std::vector<Endpoint>& targets, const std::function<void()>& prepare = [] {},
      int threads = 1);
  ~RelayProgram();
  RelayProgram(const RelayProgram&) = delete;
  RelayProgram& operator=(const RelayProgram&) = delete;

  // Where clients of the target connect.
  const Endpoint& host(std::size_t target = 0) const { return hosts_.at(target); }

  pid_t pid() const { return pids_.at(0); }
  // KiB in memory.
  long memory() const;
  std::size_t descriptors() const;
  // Hundredths of a second of processor time so far.
  long ticks() const;
  // Asks it to end, and expects that it does so without complaint.
  void stop();

 private:
  void start_other(const char* command, const Endpoint& target);

  std::vector<pid_t> pids_;
  std::vector<Endpoint> hosts_;
};

// Whether the relay's memory is its own: with a sanitizer it is that one's too.
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
inline constexpr bool sanitized = true;
#else
inline constexpr bool sanitized = false;
#endif

}  // namespace vf::test
