// SPDX-License-Identifier: LGPL-2.1-or-later

#pragma once

#include <gio/gio.h>

namespace vf {

// The interface of that name from xml/org.virtforward1.xml, or org.freedesktop.DBus.ObjectManager.
// Lives as long as the program; an unknown name ends it.
GDBusInterfaceInfo* bus_interface(const char* name);

}  // namespace vf
