// SPDX-License-Identifier: LGPL-2.1-or-later

#pragma once

#include <cstddef>
#include <string>
#include <string_view>

#include "notify/announcer.h"

namespace vf {

// Text that a guest may have made, for a notification: bounded, without control characters, and
// without what a notification server would take for markup. Whether one does cannot be known, since
// GNotification hides which one it is, so <, > and & are written by characters that look alike.
std::string notification_text(std::string_view text, std::size_t max_bytes);

struct NoticeText {
  std::string title;
  std::string body;
};

NoticeText text_of(const Notice& notice);

}  // namespace vf
