// SPDX-License-Identifier: LGPL-2.1-or-later
//
// Follows what a daemon shows: everything there is first, then every change. Calls its observer
// from the thread-default main context of start(); not from start() itself. One thread.

#pragma once

#include <map>
#include <string>
#include <vector>

#include "client/daemon.h"

namespace vf {

class Watch {
 public:
  struct Observer {
    virtual ~Observer() = default;
    // `before` is null for one that is new, `after` for one that is gone; never both, and never
    // equal. The forward of a domain is announced after the domain and goes before it.
    virtual void forward_changed(const Daemon& daemon, const std::string& path,
                                 const ForwardView* before, const ForwardView* after) = 0;
    // A port is announced behind its forward and goes before it.
    virtual void port_changed(const Daemon& daemon, const std::string& path, const PortView* before,
                              const PortView* after) = 0;
    virtual void domain_changed(const Daemon& daemon, const std::string& path,
                                const DomainView* before, const DomainView* after) = 0;
    // The daemon went away. Nothing follows.
    virtual void daemon_lost(const Daemon& daemon) = 0;
  };

  // `daemon` and `observer` outlive this.
  Watch(const Daemon& daemon, Observer& observer) : daemon_(daemon), observer_(observer) {}
  ~Watch();
  Watch(const Watch&) = delete;
  Watch& operator=(const Watch&) = delete;

  // Subscribes, then reads what is there: it is in domains(), forwards() and ports() and not
  // announced.
  Result<void> start();

  const std::map<std::string, ForwardView>& forwards() const { return forwards_; }
  const std::map<std::string, PortView>& ports() const { return ports_; }
  const std::map<std::string, DomainView>& domains() const { return domains_; }
  const Daemon& daemon() const { return daemon_; }

 private:
  static void on_signal(GDBusConnection* connection, const gchar* sender, const gchar* path,
                        const gchar* interface, const gchar* signal, GVariant* parameters,
                        gpointer data) noexcept;
  static void on_closed(GDBusConnection* connection, gboolean remote_peer_vanished, GError* error,
                        gpointer data) noexcept;
  void subscribe(const char* sender, const char* interface, const char* signal, const char* path,
                 const char* first_argument);
  void added(GVariant* parameters);
  void removed(GVariant* parameters);
  void changed(const std::string& path, GVariant* parameters);
  void owner_changed(GVariant* parameters);
  void update(const std::string& path);
  void lost();

  const Daemon& daemon_;
  Observer& observer_;
  Objects inventory_;
  std::map<std::string, ForwardView> forwards_;
  std::map<std::string, PortView> ports_;
  std::map<std::string, DomainView> domains_;
  std::vector<guint> subscriptions_;
  gulong closed_handler_ = 0;
  bool lost_ = false;
};

}  // namespace vf
