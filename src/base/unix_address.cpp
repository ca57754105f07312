// SPDX-License-Identifier: LGPL-2.1-or-later

#include "base/unix_address.h"

#include <cstddef>
#include <cstring>

namespace vf {

std::optional<UnixAddress> UnixAddress::from(std::string_view path) {
  UnixAddress address;
  if (path.empty() || path.size() >= sizeof address.storage.sun_path ||
      path.find('\0') != std::string_view::npos)
    return std::nullopt;
  address.storage.sun_family = AF_UNIX;
  std::memcpy(address.storage.sun_path, path.data(), path.size());
  address.length = static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + path.size() + 1);
  return address;
}

}  // namespace vf
