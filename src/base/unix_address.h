// SPDX-License-Identifier: LGPL-2.1-or-later

#pragma once

#include <sys/socket.h>
#include <sys/un.h>

#include <optional>
#include <string_view>

namespace vf {

// The address of a socket file, ready for bind() and connect().
struct UnixAddress {
  sockaddr_un storage{};
  socklen_t length = 0;

  // Nothing when the path is empty, has a NUL or is longer than the kernel takes (107 bytes).
  static std::optional<UnixAddress> from(std::string_view path);

  const sockaddr* get() const { return reinterpret_cast<const sockaddr*>(&storage); }
};

}  // namespace vf
