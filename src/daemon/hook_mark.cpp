// SPDX-License-Identifier: LGPL-2.1-or-later

#include "daemon/hook_mark.h"

#include <fcntl.h>
#include <sys/stat.h>

#include "base/fd.h"

namespace vf {

std::optional<std::int64_t> HookMark::last() const {
  struct stat file {};
  if (path_.empty() || lstat(path_.c_str(), &file) != 0) return std::nullopt;
  return file.st_mtime;
}

void HookMark::set() {
  if (path_.empty()) return;
  const Fd file(open(path_.c_str(), O_WRONLY | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600));
  if (file) futimens(file.get(), nullptr);
}

}  // namespace vf
