// SPDX-License-Identifier: LGPL-2.1-or-later

#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>

#include "base/result.h"

struct mnl_socket;
struct nlattr;
struct nlmsghdr;

namespace vf {

// A netlink socket of one of the kernel's families (NETLINK_ROUTE, ...): for questions, or
// subscribed to groups. Main thread only.
class NetlinkSocket {
 public:
  using Each = std::function<void(const nlmsghdr*)>;

  // For questions: ask() waits for the kernel's answer, which comes at once.
  static Result<NetlinkSocket> for_questions(int family);
  // For events of these groups (bit N-1 is group N); never waits.
  static Result<NetlinkSocket> for_events(int family, std::uint32_t groups);

  int fd() const;

  // Sends `request` and calls `each` for every message of the answer. 0, or the errno value that
  // the kernel answered. A request that is neither a dump nor asks for an acknowledgement has one
  // message for an answer.
  int ask(
      nlmsghdr* request, const Each& each = [](const nlmsghdr*) {});

  // Calls `each` for what came in, up to a bound: the rest stays readable. False when the kernel
  // had to drop messages.
  bool receive(const Each& each);

 private:
  struct Close {
    void operator()(mnl_socket* socket) const;
  };
  explicit NetlinkSocket(mnl_socket* socket) : socket_(socket) {}
  static Result<NetlinkSocket> open(int family, int flags, std::uint32_t groups);

  std::unique_ptr<mnl_socket, Close> socket_;
  std::uint32_t sequence_ = 0;
};

using EachAttribute = std::function<void(const nlattr*)>;
// The attributes behind a message's fixed header of this size, and those inside another.
void for_attributes(const nlmsghdr* message, std::size_t header, const EachAttribute& each);
void for_attributes(const nlattr* nest, const EachAttribute& each);

}  // namespace vf
