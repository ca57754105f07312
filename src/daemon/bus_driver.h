// SPDX-License-Identifier: LGPL-2.1-or-later
//
// As much of org.freedesktop.DBus as programs ask for that think they talk to a bus: the peer is
// ":1.1", the daemon ":1.0" and owner of org.virtforward1. Matches are taken and ignored: every
// peer gets every signal.

#pragma once

#include <memory>

#include "glib/ref.h"

namespace vf {

class BusDriver {
 public:
  // Before the connection's messages are processed. Null when GDBus refuses.
  static std::unique_ptr<BusDriver> attach(GDBusConnection* connection);
  ~BusDriver();
  BusDriver(const BusDriver&) = delete;
  BusDriver& operator=(const BusDriver&) = delete;

 private:
  BusDriver(GDBusConnection* connection, guint object);

  Ref<GDBusConnection> connection_;
  guint object_;
  guint filter_;
};

}  // namespace vf
