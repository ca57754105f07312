// SPDX-License-Identifier: LGPL-2.1-or-later
//
// The daemon's place on the system or session bus, kept for as long as there is a bus. Main thread
// only.

#pragma once

#include <chrono>
#include <functional>
#include <string>

#include "glib/ref.h"
#include "glib/source.h"

namespace vf {

class BusConnection {
 public:
  struct Handler {
    // Before the name is asked for; false gives this connection up until the next try.
    std::function<bool(GDBusConnection*)> came;
    std::function<void(GDBusConnection*)> left;
  };

  // Tries at once, then after 1, 2, 4, ... 60 seconds.
  BusConnection(GBusType type, Handler handler);
  ~BusConnection();
  BusConnection(const BusConnection&) = delete;
  BusConnection& operator=(const BusConnection&) = delete;

 private:
  void connect();
  void connected(Ref<GDBusConnection> connection);
  static void closed(GDBusConnection*, gboolean, GError*, gpointer self) noexcept;
  void lost();
  void drop();
  void retry(const std::string& reason);

  GBusType type_;
  Handler handler_;
  Ref<GDBusConnection> connection_;
  Ref<GCancellable> attempt_;
  guint owner_ = 0;
  std::chrono::seconds delay_;
  bool told_ = false;  // that there is no bus: once, not at each try
  Source timer_;
};

}  // namespace vf
