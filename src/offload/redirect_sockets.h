// SPDX-License-Identifier: LGPL-2.1-or-later
//
// The TCP sockets of this network namespace that carry a mark of redirect.bpf.c.

#pragma once

#include <linux/inet_diag.h>

#include <cstdint>
#include <functional>
#include <memory>
#include <vector>

#include "base/result.h"
#include "offload/redirect_map.h"

struct mnl_socket;
struct nlmsghdr;

namespace vf {

class RedirectSockets {
 public:
  struct Socket {
    std::uint8_t family = 0;
    inet_diag_sockid id{};
    redirect_mark mark{};
  };
  using Seen = std::function<void(const Socket&)>;

  // An error where the kernel cannot tell the marks in `map` or cannot end a socket of others.
  static Result<std::unique_ptr<RedirectSockets>> open(int map);
  ~RedirectSockets();
  RedirectSockets(const RedirectSockets&) = delete;
  RedirectSockets& operator=(const RedirectSockets&) = delete;

  // Each once. `established` is also what one end has closed; `all` adds what is under way and what
  // both ends have closed.
  enum class Which { established, all };
  Result<std::vector<Socket>> list(Which which);
  // As if the network had broken it: both ends get an error. Not an error when it is gone already.
  Result<void> destroy(const Socket& socket);

 private:
  RedirectSockets(mnl_socket* socket, int map) : socket_(socket), map_(map) {}
  int ask(nlmsghdr* request, const std::function<void(const nlmsghdr*)>& each);

  mnl_socket* const socket_;
  const int map_;
  std::uint32_t sequence_ = 0;
};

}  // namespace vf
