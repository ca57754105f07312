// SPDX-License-Identifier: LGPL-2.1-or-later

#pragma once

#include <cstdint>
#include <functional>
#include <span>

#include "base/fd.h"

struct nlmsghdr;

namespace vf::guest {

// What follows the header.
std::span<const std::uint8_t> payload_of(const nlmsghdr& message);

// One question to the kernel, answered before this returns.
class Netlink {
 public:
  // A socket of the family (NETLINK_ROUTE, NETLINK_SOCK_DIAG); empty where there is none.
  explicit Netlink(int family);

  // Sends a message of `type` with `flags` beside NLM_F_REQUEST and hands each answer to `each`,
  // header and all. 0, or why not.
  int ask(std::uint16_t type, std::uint16_t flags, std::span<const std::uint8_t> payload,
          const std::function<void(const nlmsghdr&)>& each);

 private:
  Fd socket_;
  std::uint32_t sequence_ = 0;
};

}  // namespace vf::guest
