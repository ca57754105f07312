// SPDX-License-Identifier: LGPL-2.1-or-later
//
// Where daemons can be: the instance of the system and the one of the user, each on its private
// socket or on a message bus.

#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"

namespace vf {

struct DaemonAddress {
  std::string address;  // D-Bus address
  bool bus = false;     // a message bus, where the daemon has its name; else the daemon itself
};

// One daemon that may run, by the ways to it in order of preference.
struct Instance {
  std::string title;  // for messages: "the system daemon", "the daemon at unix:path=..."
  std::string uri;    // libvirt URI that it serves; empty: only it can tell
  std::string start;  // how to start it, for messages; empty: unknown
  std::vector<DaemonAddress> addresses;
};

// A libvirt URI as --connect takes it: local, and the same daemon under all its spellings.
// InvalidArgument for a URI of another host; `arguments` are those of the command line, for the
// ssh line that the refusal names.
Result<std::string> local_uri(std::string_view uri, const std::vector<std::string>& arguments);

Instance system_instance();
Instance session_instance();
Instance instance_at(const std::string& dbus_address);

}  // namespace vf
