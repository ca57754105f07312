// SPDX-License-Identifier: LGPL-2.1-or-later

#pragma once

#include <glib.h>

#include <functional>

namespace vf::test {

// Runs the default main context until `condition` holds; false when it did not within `seconds`.
inline bool run_until(const std::function<bool()>& condition, unsigned seconds = 30) {
  bool expired = false;
  GSource* timer = g_timeout_source_new_seconds(seconds);
  g_source_set_callback(
      timer,
      [](gpointer flag) -> gboolean {
        *static_cast<bool*>(flag) = true;
        return G_SOURCE_CONTINUE;
      },
      &expired, nullptr);
  g_source_attach(timer, nullptr);
  while (!condition() && !expired)
    g_main_context_iteration(nullptr, TRUE);
  g_source_destroy(timer);
  g_source_unref(timer);
  return condition();
}

}  // namespace vf::test
