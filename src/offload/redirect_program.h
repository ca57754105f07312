// SPDX-License-Identifier: LGPL-2.1-or-later
//
// The programs of redirect.bpf.c in the kernel, their maps, and what attaches them.

#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>

#include "base/fd.h"
#include "base/result.h"
#include "offload/redirect_map.h"

struct bpf_link;
struct bpf_program;
struct redirect_bpf;

namespace vf {

// Where the hierarchy of version 2 is mounted, from the text of /proc/self/mountinfo; empty when it
// is not.
std::string unified_root(const std::string& mountinfo);

class RedirectProgram {
 public:
  // Loaded for this process's network namespace, not attached yet. With the marks of another
  // process's programs, where that is what `marks` is.
  static Result<std::unique_ptr<RedirectProgram>> load(Fd marks = {});
  ~RedirectProgram();
  RedirectProgram(const RedirectProgram&) = delete;
  RedirectProgram& operator=(const RedirectProgram&) = delete;

  // After an error nothing is attached.
  Result<void> attach();
  void detach();
  // What is attached no more, in words; empty when all is well.
  std::string missing() const;
  // Whether IPV6_V6ONLY can be read, and so ::1 be taken to an IPv4 address.
  bool reads_v6only() const { return extras_.v6only; }
  const Fd& marks() const { return marks_; }
  // Of the ring of redirect_failure, where connections that do not get through are told.
  std::optional<int> failures() const;

  // Some may have been done when these fail. Of `set`: hosts[i] goes to guests[i], whatever it
  // was before.
  Result<void> remove(std::span<const redirect_host> hosts);
  Result<void> set(std::span<const redirect_host> hosts, std::span<const redirect_guest> guests);

 private:
  static constexpr std::size_t programs = 4;

  RedirectProgram() = default;
  // What needs CAP_PERFMON and may be missing.
  struct Extras {
    bool v6only = false;
    bool failures = false;
  };
  Result<void> load(std::uint64_t netns_cookie, Extras extras, const Fd& marks);
  std::array<bpf_program*, programs> chosen() const;

  Fd group_;
  Fd marks_;
  redirect_bpf* skeleton_ = nullptr;
  Extras extras_;
  bpf_link* failures_link_ = nullptr;
  std::array<bpf_link*, programs> links_{};
  std::array<std::uint32_t, programs> program_ids_{};
};

}  // namespace vf
