// SPDX-License-Identifier: LGPL-2.1-or-later
//
// The program on the session bus: shows what the announcer says and does what people answer. What
// an action needs is in its parameter, so that it works after a restart of this program too.

#pragma once

#include <gio/gio.h>

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "glib/source.h"
#include "notify/announcer.h"
#include "notify/daemon_link.h"
#include "notify/errands.h"

namespace vf {

inline constexpr char notifier_application_id[] = "org.virtforward1.Notifier";

class Notifier final : private DaemonLink::Listener {
 public:
  struct Watched {
    DaemonLink::Find find;
    std::optional<GBusType> bus;
  };

  explicit Notifier(std::vector<Watched> watched);
  ~Notifier() override;

  // Exit status. Returns when it is told to end, the session ends, or at once where another one
  // runs already.
  int run(const char* program);

 private:
  void port_seen(const News& news) override;
  void port_gone(const std::string& key) override;

  void schedule();
  void show_due();
  void show(const Notice& notice);
  void tell_failure(const std::string& what, const Error& error);
  void end();

  using Action = void (Notifier::*)(GVariant* parameter);
  void add_action(const char* name, const char* parameter_type, Action action);
  void open(GVariant* url);
  void copy(GVariant* text);
  void block(GVariant* port);
  void allow(GVariant* ports);
  void show_panel(GVariant* domain);
  // Changes something by a connection of its own, which may have to ask a person for a password.
  using Edit = std::function<Result<void>(const Daemon&)>;
  void edit(const std::string& daemon, const std::string& what, Edit edit);

  static void on_startup(GApplication*, gpointer self) noexcept;
  static void on_activate(GApplication*, gpointer) noexcept {}

  std::vector<Watched> watched_;
  Ref<GApplication> application_;
  std::vector<std::unique_ptr<DaemonLink>> links_;
  Announcer announcer_;
  Errands errands_;
  Source timer_;
  Source interrupted_;
  Source terminated_;
  bool held_ = false;
};

}  // namespace vf
