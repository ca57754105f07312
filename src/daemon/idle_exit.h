// SPDX-License-Identifier: LGPL-2.1-or-later
//
// The end of a daemon that nothing needs. Main thread only.

#pragma once

#include <chrono>
#include <functional>
#include <map>
#include <string>

#include "daemon/model.h"
#include "glib/source.h"

namespace vf {

class IdleExit {
 public:
  // Asks `needed` from time to time, and calls `end` once, when nothing was needed and nothing
  // happened for `patience` or a quarter more.
  IdleExit(std::chrono::milliseconds patience, std::function<bool()> needed,
           std::function<void()> end);

  // Something happened: the time begins anew.
  void happened() { needed_until_ = g_get_monotonic_time(); }
  // It is also not over before `time` from now, unless the same `key` is let go of.
  void hold(const std::string& key, std::chrono::milliseconds time);
  void let_go(const std::string& key) { held_until_.erase(key); }

 private:
  void look();

  std::chrono::milliseconds patience_;
  std::function<bool()> needed_;
  std::function<void()> end_;
  // By the monotonic clock.
  gint64 needed_until_ = g_get_monotonic_time();
  std::map<std::string, gint64> held_until_;
  Source timer_;
};

// Whether domains need a daemon. A running one does, whatever it defines: an edit of its metadata
// is told by libvirt to whoever is connected, and runs no hook. One that is off does where nobody
// else would start a daemon for it (`woken` is false).
bool domains_need_daemon(const Model& model, bool woken);

}  // namespace vf
