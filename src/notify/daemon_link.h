// SPDX-License-Identifier: LGPL-2.1-or-later
//
// One daemon, for as long as this program runs: it may be absent, go and come back. Says which
// ports a person may want to know of; what is there at the first connection, and what was there
// before a daemon came back, is no news. Never wakes or starts a daemon. Main thread only.

#pragma once

#include <chrono>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>

#include "client/daemon.h"
#include "client/watch.h"
#include "glib/source.h"
#include "notify/news.h"

namespace vf {

class DaemonLink final : private Watch::Observer {
 public:
  struct Listener {
    virtual ~Listener() = default;
    virtual void port_seen(const News& news) = 0;
    // Closed, or neither forwarded nor asking any more.
    virtual void port_gone(const std::string& key) = 0;
  };

  // How long a daemon that came back has to find what was there before.
  static constexpr std::chrono::seconds patience{30};

  // Where the daemon is, or would be: asked anew for each connection.
  using Find = std::function<Instance()>;

  // Connects from the main loop. `bus`: the message bus on which the daemon's name is looked for.
  // The listener outlives this.
  DaemonLink(Find find, std::optional<GBusType> bus, Listener& listener);
  ~DaemonLink() override;

  // For the actions of notifications, which find their daemon by it.
  const std::string& name() const { return name_; }
  Instance find() const { return find_(); }

 private:
  void watch_name(GBusType bus);
  static void on_name_appeared(GDBusConnection* connection, const gchar* name, const gchar* owner,
                               gpointer self) noexcept;
  void connect();
  void retry_later();
  void forget_missing();
  void look_at(const std::string& path);
  std::optional<News::Kind> kind_of(const PortView& port, std::optional<News::Kind> before,
                                    std::string& url) const;

  void forward_changed(const Daemon& daemon, const std::string& path, const ForwardView* before,
                       const ForwardView* after) override;
  void port_changed(const Daemon& daemon, const std::string& path, const PortView* before,
                    const PortView* after) override;
  void domain_changed(const Daemon&, const std::string&, const DomainView*,
                      const DomainView*) override {}
  void daemon_lost(const Daemon& daemon) override;

  Find find_;
  std::string name_;
  Listener& listener_;
  std::unique_ptr<Daemon> daemon_;
  std::unique_ptr<Watch> watch_;
  std::map<std::string, News::Kind> known_;  // by path of the port
  bool first_ = true;                        // has never been connected
  std::string told_problem_;
  std::chrono::seconds delay_{1};
  Source timer_;
  Source dropping_;
  Source forgetting_;
  Ref<GDBusConnection> bus_;
  guint name_watch_ = 0;
};

}  // namespace vf
