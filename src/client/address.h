// SPDX-License-Identifier: LGPL-2.1-or-later
//
// Where daemons can be: the instance of the system and the one of the user, each on its private
// socket or on a message bus.

#pragma once

#include <chrono>
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
  // How long it may take to say its first word: one that is woken has its own questions first.
  std::chrono::seconds patience{3};
  // Its private socket is there, but not for this user, and no bus answers to ask it by.
  bool out_of_reach = false;
};

// What is said where none of them answers: how to start one.
Error none_runs(const std::vector<Instance>& tried);

// Whether a socket's path is more than a file that was left behind.
bool somebody_listens(const std::string& path);

// A libvirt URI as --connect takes it: local, and the same daemon under all its spellings.
// InvalidArgument for a URI of another host; `arguments` are those of the command line, for the
// ssh line that the refusal names.
Result<std::string> local_uri(std::string_view uri, const std::vector<std::string>& arguments);

Instance system_instance();
// Where the user's systemd listens for the daemon, a connection to the private socket starts it: so
// for who has never used a session that one is left out, unless it is to be woken.
enum class Wake { if_used, yes };
Instance session_instance(Wake wake = Wake::if_used);
Instance instance_at(const std::string& dbus_address);

// $XDG_RUNTIME_DIR or what it stands for, and in it the private socket of the user's daemon.
std::string user_runtime_directory();
std::string session_socket();
bool has_user_systemd();

}  // namespace vf
