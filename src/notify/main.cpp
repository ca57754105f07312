// SPDX-License-Identifier: LGPL-2.1-or-later
//
// virt-forward-notify: see its man page.

#include <glib.h>
#include <unistd.h>

#include "notify/notifier.h"

namespace {

std::vector<vf::Notifier::Watched> usual_daemons() {
  std::vector<vf::Notifier::Watched> daemons{{vf::system_instance, G_BUS_TYPE_SYSTEM}};
  // Root's session is the system.
  if (getuid() == 0) return daemons;
  const auto session = [] {
    vf::Instance instance = vf::session_instance();
    // A private socket that the user's systemd listens on would wake the daemon.
    if (vf::has_user_systemd())
      std::erase_if(instance.addresses,
                    [](const vf::DaemonAddress& address) { return !address.bus; });
    return instance;
  };
  daemons.push_back({session, G_BUS_TYPE_SESSION});
  return daemons;
}

}  // namespace

int main(int argc, char** argv) {
  gchar** addresses = nullptr;
  gboolean version = FALSE;
  const GOptionEntry entries[] = {
      {"address", 0, 0, G_OPTION_ARG_STRING_ARRAY, &addresses,
       "Watch the daemon at this D-Bus address alone (may be given more than once)", "ADDRESS"},
      {"version", 'V', 0, G_OPTION_ARG_NONE, &version, "Print the version", nullptr},
      {}};
  GOptionContext* context = g_option_context_new(nullptr);
  g_option_context_set_summary(context, "Tells the desktop of ports that guests open.");
  g_option_context_add_main_entries(context, entries, nullptr);
  vf::GErrorOut error;
  const bool parsed = g_option_context_parse(context, &argc, &argv, error.out());
  g_option_context_free(context);
  if (!parsed || argc > 1) {
    g_printerr("virt-forward-notify: %s; see virt-forward-notify --help\n",
               parsed ? "it takes no arguments" : error.message().c_str());
    return 2;
  }
  if (version) {
    g_print("virt-forward-notify " VF_VERSION "\n");
    return 0;
  }
  std::vector<vf::Notifier::Watched> daemons;
  for (gchar** address = addresses; address && *address; ++address)
    daemons.push_back({[where = std::string(*address)] { return vf::instance_at(where); }, {}});
  g_strfreev(addresses);
  if (daemons.empty()) daemons = usual_daemons();
  return vf::Notifier(std::move(daemons)).run(argv[0]);
}
