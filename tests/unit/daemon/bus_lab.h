// SPDX-License-Identifier: LGPL-2.1-or-later
//
// What the tests of the D-Bus service share: a scratch directory, the main loop until something
// holds, calls that wait for their answer, and programs run against the service. The service lives
// in the test's own process, so nothing here may block.

#pragma once

#include <functional>
#include <string>
#include <vector>

#include "daemon/bus_service.h"
#include "glib/ref.h"

namespace vf {

class ScratchDirectory {
 public:
  ScratchDirectory();
  ~ScratchDirectory();
  ScratchDirectory(const ScratchDirectory&) = delete;
  ScratchDirectory& operator=(const ScratchDirectory&) = delete;
  std::string path(const std::string& name) const { return path_ + '/' + name; }
  const std::string& root() const { return path_; }

 private:
  std::string path_;
};

// Runs the main loop until `condition` holds; false after ten seconds.
bool iterate_until(const std::function<bool()>& condition);

// A dbus-daemon of the test's own that lets every uid in.
class PrivateBus {
 public:
  PrivateBus();
  ~PrivateBus();
  PrivateBus(const PrivateBus&) = delete;
  PrivateBus& operator=(const PrivateBus&) = delete;
  // On the address that it had.
  void start();
  void stop();
  std::string address() const;

 private:
  ScratchDirectory directory_;
  GPid pid_ = 0;
};

// Null (and a test failure) when it does not connect.
Ref<GDBusConnection> connect_peer(const std::string& socket);
Ref<GDBusConnection> connect_bus(const std::string& address);

// A method call's answer: the value, or the D-Bus name and text of its error.
struct CallAnswer {
  Ref<GVariant> value;
  std::string error;
  std::string message;
  // As text; empty after an error.
  std::string text() const;
};

// Calls org.virtforward1 (by name on a bus) and runs the main loop until the answer is there.
// `arguments` may be null.
CallAnswer call(const Ref<GDBusConnection>& connection, const std::string& path,
                const char* interface, const char* method, GVariant* arguments = nullptr);

struct ProgramResult {
  int status = -1;
  std::string out;
  std::string err;
};

// Runs a program while the main loop goes on.
ProgramResult run_program(const std::vector<std::string>& command);

// The signals that arrive on a connection, as "Interface.Signal path arguments".
class SignalLog {
 public:
  explicit SignalLog(const Ref<GDBusConnection>& connection);
  ~SignalLog();
  SignalLog(const SignalLog&) = delete;
  SignalLog& operator=(const SignalLog&) = delete;

  struct Entry {
    std::string name;  // "InterfacesAdded"
    std::string path;  // of the object that it is about
    Ref<GVariant> arguments;
  };
  std::vector<Entry> entries;
  // "InterfacesAdded /path" each.
  std::vector<std::string> lines() const;

 private:
  Ref<GDBusConnection> connection_;
  guint subscription_;
};

}  // namespace vf
