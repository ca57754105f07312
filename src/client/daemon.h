// SPDX-License-Identifier: LGPL-2.1-or-later
//
// A connection to one daemon. Calls wait for their answer, at most `reading_timeout` (edits, which
// may ask the user for a password, and what needs libvirt while the daemon first connects to it,
// longer); a daemon that does not answer is ErrorCode::no_daemon.
// Errors of the daemon keep their code and text. Signals arrive in the thread-default main context
// of connect(); the calls of a const Daemon may be made by any number of threads.

#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "base/result.h"
#include "client/address.h"
#include "client/views.h"
#include "core/statistics.h"

namespace vf {

inline constexpr std::chrono::milliseconds reading_timeout{5000};
// A daemon that first connects to libvirt answers when that is done or has failed.
inline constexpr std::chrono::milliseconds starting_timeout{15000};
inline constexpr std::chrono::milliseconds editing_timeout{120000};

// Where an edit goes; none set: live, and an error where the domain does not run.
struct EditFlags {
  bool live = false;
  bool config = false;
  bool persistent = false;
  bool drain = false;    // removal: connections may end by themselves
  bool dry_run = false;  // addition: only answer what it would do
};

// A forward that AddForward or AddForwards made.
struct AddedForward {
  std::string path;
  std::optional<Port> host_port;  // absent: the domain does not run, or a socket
  std::optional<Port> requested_port;
};

// Everything that a daemon shows, by object path.
struct Objects {
  std::map<std::string, Properties> domains;
  std::map<std::string, Properties> forwards;
  std::map<std::string, Properties> ports;
};

class Daemon {
 public:
  // NoDaemon with an empty message when nothing is there; with a message when something is there
  // and does not answer.
  static Result<Daemon> connect(const Instance& instance);
  Daemon(Daemon&&) = default;
  Daemon& operator=(Daemon&&) = default;

  const Instance& instance() const { return instance_; }
  // The libvirt URI that it serves.
  const std::string& uri() const { return uri_; }
  const std::string& version() const { return version_; }
  bool libvirt_connected() const { return libvirt_connected_; }
  // Why it is not connected to libvirt; empty where it is.
  const std::string& libvirt_reason() const { return libvirt_reason_; }
  bool relay_connected() const { return relay_connected_; }
  // When libvirt's hook last told it something, Unix time in seconds.
  std::optional<std::int64_t> hook_heard() const { return hook_heard_; }
  // Where it is not connected to libvirt or its relay: waits until its first attempts have come to
  // an end, and looks again. Whether it knows any domain then.
  Result<bool> wait_until_settled();

  // Object path of a domain by name, id or UUID.
  Result<std::string> find_domain(const std::string& domain) const;
  Result<Objects> inventory() const;
  Result<Properties> properties(const std::string& path, const char* interface) const;
  Result<std::vector<AddedForward>> add_forward(
      const std::string& domain_path,
      const std::vector<std::pair<std::string, std::string>>& attributes,
      const EditFlags& options) const;
  // All of them or none: for each what came of it. An error that is about one of them says so
  // (of_entry()).
  Result<std::vector<std::vector<AddedForward>>> add_forwards(
      const std::string& domain_path,
      const std::vector<std::vector<std::pair<std::string, std::string>>>& forwards,
      const EditFlags& options) const;
  // An empty value takes the attribute away.
  Result<std::vector<AddedForward>> change_forward(
      const std::string& domain_path, const std::string& forward,
      const std::vector<std::pair<std::string, std::string>>& attributes,
      const EditFlags& options) const;
  Result<void> remove_forward(const std::string& domain_path, const std::string& forward,
                              const EditFlags& options) const;
  // Our element of the metadata; empty where there is none. `options`: live or config, none: the
  // live one where the domain runs.
  Result<std::string> metadata(const std::string& domain_path, const EditFlags& options) const;
  Result<void> block(const std::string& domain_path, Protocol protocol, PortRange ports,
                     const EditFlags& options) const;
  Result<void> unblock(const std::string& domain_path, Protocol protocol, PortRange ports,
                       const EditFlags& options) const;
  // `process` empty: these ports alone, whoever listens there.
  Result<void> allow(const std::string& domain_path, Protocol protocol, PortRange ports,
                     const std::string& process, const EditFlags& options) const;
  // `process` empty: what allows these ports, and the processes that have them open.
  Result<void> disallow(const std::string& domain_path, Protocol protocol, PortRange ports,
                        const std::string& process, const EditFlags& options) const;
  Result<void> set_automatic(const std::string& domain_path, AutoMode mode,
                             const EditFlags& options) const;
  // By object path; a forward that nothing counts is absent. Empty where the daemon cannot say.
  std::map<std::string, ForwardCounters> counters() const;
  // An older daemon has nothing of it to tell: NotSupported.
  Result<DaemonStatistics> statistics() const;
  // The same without waiting: calls `done` once, from the thread-default main context, also when it
  // is cancelled; nothing where there is no answer.
  using CountersDone = std::function<void(std::optional<std::map<std::string, ForwardCounters>>)>;
  void ask_counters(GCancellable* cancellable, CountersDone done) const;

  GDBusConnection* connection() const { return connection_.get(); }
  // Null on a connection that is the daemon itself.
  const char* peer_name() const { return bus_ ? "org.virtforward1" : nullptr; }

 private:
  Daemon(Instance instance, Ref<GDBusConnection> connection, bool bus);
  Result<Ref<GVariant>> call(const std::string& path, const char* interface, const char* method,
                             GVariant* parameters, const char* reply_type,
                             std::chrono::milliseconds timeout) const;
  Result<void> edit_ports(const char* method, const std::string& domain_path, Protocol protocol,
                          PortRange ports, const std::string& process,
                          const EditFlags& options) const;
  Result<void> greet();
  std::chrono::milliseconds libvirt_timeout() const;

  Instance instance_;
  Ref<GDBusConnection> connection_;
  bool bus_ = false;
  std::string uri_;
  std::string version_;
  bool libvirt_connected_ = false;
  std::string libvirt_reason_;
  bool relay_connected_ = false;
  std::optional<std::int64_t> hook_heard_;
};

}  // namespace vf
