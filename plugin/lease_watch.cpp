// SPDX-License-Identifier: LGPL-2.1-or-later

#include "plugin/lease_watch.h"

#include <sys/inotify.h>
#include <unistd.h>

#include <array>
#include <utility>

namespace vf {

LeaseWatch::LeaseWatch(std::string directory, std::function<void()> changed)
    : directory_(std::move(directory)), changed_(std::move(changed)) {}

void LeaseWatch::start() {
  if (watching_) return;
  if (!inotify_) {
    inotify_.reset(inotify_init1(IN_CLOEXEC | IN_NONBLOCK));
    if (!inotify_) return;
    source_ = watch_fd(inotify_.get(), G_IO_IN, [this](GIOCondition) { receive(); });
  }
  // The lease file is replaced by rename.
  constexpr std::uint32_t events = IN_MOVED_TO | IN_CLOSE_WRITE | IN_DELETE | IN_ONLYDIR;
  watching_ = inotify_add_watch(inotify_.get(), directory_.c_str(), events) >= 0;
}

void LeaseWatch::receive() {
  alignas(inotify_event) std::array<char, 4096> buffer;
  bool any = false;
  ssize_t length = 0;
  while ((length = read(inotify_.get(), buffer.data(), buffer.size())) > 0) {
    any = true;
    for (std::size_t at = 0; at + sizeof(inotify_event) <= static_cast<std::size_t>(length);) {
      const auto* event = reinterpret_cast<const inotify_event*>(buffer.data() + at);
      if (event->mask & IN_IGNORED) watching_ = false;
      at += sizeof *event + event->len;
    }
  }
  if (any) changed_();
}

}  // namespace vf
