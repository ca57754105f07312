// SPDX-License-Identifier: LGPL-2.1-or-later

#include "daemon/settings.h"

#include <unistd.h>

#include <cstdlib>
#include <utility>

#include "daemon/journal.h"
#include "glib/ref.h"

namespace vf {
namespace {

bool is_system_uri(const std::string& uri) {
  return uri.ends_with("/system");
}

// $RUNTIME of the design: /run for the system daemon, the user's runtime directory otherwise.
std::string runtime_base(bool system) {
  if (system) return "/run";
  const char* directory = std::getenv("XDG_RUNTIME_DIR");
  return directory && *directory ? directory : "/run/user/" + std::to_string(getuid());
}

}  // namespace

Settings read_command_line(int argc, char** argv) {
  gchar *uri = nullptr, *runtime = nullptr, *policy = nullptr;
  gchar *relay = nullptr, *relay_user = nullptr, *ssh = nullptr, *ssh_user = nullptr;
  gchar *state = nullptr, *bus = nullptr, *agents = nullptr;
  gint idle = 0;
  gboolean clear = FALSE;
  gboolean version = FALSE;
  gboolean debug = FALSE;
  const GOptionEntry entries[] = {
      {"connect", 'c', 0, G_OPTION_ARG_STRING, &uri,
       "libvirt connection (default: qemu:///system as root, else qemu:///session)", "URI"},
      {"runtime-directory", 0, 0, G_OPTION_ARG_FILENAME, &runtime,
       "where the sockets are (default: $RUNTIME/virt-forward)", "DIR"},
      {"policy-directory", 0, 0, G_OPTION_ARG_FILENAME, &policy,
       "where virt-forward.conf is (default: /etc/virt-forward; per user "
       "$XDG_CONFIG_HOME/virt-forward)",
       "DIR"},
      {"relay", 0, 0, G_OPTION_ARG_FILENAME, &relay,
       "relay that is started where none runs; empty: never", "PROGRAM"},
      {"relay-user", 0, 0, G_OPTION_ARG_STRING, &relay_user,
       "user that a started relay runs as (default: virt-forward as root)", "USER"},
      {"ssh", 0, 0, G_OPTION_ARG_FILENAME, &ssh,
       "virt-forward-ssh that is started where none runs; empty: never", "PROGRAM"},
      {"ssh-user", 0, 0, G_OPTION_ARG_STRING, &ssh_user,
       "user that it runs as then (default: virt-forward-ssh as root)", "USER"},
      {"state-directory", 0, 0, G_OPTION_ARG_FILENAME, &state,
       "where it keeps host keys then (default: /var/lib/virt-forward-ssh; per user "
       "$XDG_STATE_HOME/virt-forward-ssh)",
       "DIR"},
      {"bus", 0, 0, G_OPTION_ARG_STRING, &bus,
       "bus to own org.virtforward1 on: system, session or none (default: by the connection)",
       "BUS"},
      {"exit-when-idle", 0, 0, G_OPTION_ARG_INT, &idle,
       "end when nothing has needed this daemon for so long, see virt-forwardd(8)", "SECONDS"},
      {"clear-offloads", 0, 0, G_OPTION_ARG_NONE, &clear,
       "take away what a daemon that was killed left in the kernel, and end", nullptr},
      {"agent-directory", 0, G_OPTION_FLAG_HIDDEN, G_OPTION_ARG_FILENAME, &agents,
       "for tests: the agent of domain UUID is the unix socket DIR/UUID instead of one on vsock",
       "DIR"},
      {"debug", 'd', 0, G_OPTION_ARG_NONE, &debug, "log more", nullptr},
      {"version", 'V', 0, G_OPTION_ARG_NONE, &version, "print the version", nullptr},
      {nullptr, 0, 0, G_OPTION_ARG_NONE, nullptr, nullptr, nullptr}};
  GOptionContext* context = g_option_context_new(nullptr);
  g_option_context_set_summary(
      context, "Installs the port forwards of libvirt domains, see virt-forwardd(8).");
  g_option_context_add_main_entries(context, entries, nullptr);
  GErrorOut error;
  const bool parsed = g_option_context_parse(context, &argc, &argv, error.out());
  g_option_context_free(context);
  if (!parsed || argc > 1) {
    g_printerr("virt-forwardd: %s\n",
               parsed ? "it takes no arguments, see --help" : error.message().c_str());
    std::exit(2);
  }
  if (idle < 0) {
    g_printerr("virt-forwardd: --exit-when-idle is not negative\n");
    std::exit(2);
  }
  if (version) {
    g_print("virt-forwardd %s\n", VF_VERSION);
    std::exit(0);
  }
  log_debug_lines(debug);

  const auto or_else = [](gchar* value, std::string fallback) {
    return value ? take_string(value) : std::move(fallback);
  };
  const bool root = getuid() == 0;
  Settings settings;
  settings.uri = or_else(uri, root ? "qemu:///system" : "qemu:///session");
  const bool system = root && !settings.uri.ends_with("/session");
  settings.runtime_directory = or_else(runtime, runtime_base(system) + "/virt-forward");
  settings.policy_directory =
      or_else(policy, system ? std::string(VF_POLICY_DIRECTORY)
                             : std::string(g_get_user_config_dir()) + "/virt-forward");
  settings.relay_program = or_else(relay, VF_RELAY_PROGRAM);
  settings.relay_user = or_else(relay_user, root ? VF_RELAY_USER : "");
  settings.ssh_program = or_else(ssh, VF_SSH_PROGRAM);
  settings.ssh_user = or_else(ssh_user, root ? VF_SSH_USER : "");
  settings.state_directory =
      or_else(state, system ? std::string(VF_STATE_DIRECTORY)
                            : std::string(g_get_user_state_dir()) + "/virt-forward-ssh");
  settings.agent_directory = or_else(agents, "");
  settings.clear_offloads = clear;
  if (idle > 0) settings.exit_when_idle = std::chrono::seconds(idle);
  const std::string bus_name = or_else(bus, is_system_uri(settings.uri)          ? "system"
                                            : settings.uri.ends_with("/session") ? "session"
                                                                                 : "none");
  if (bus_name == "system")
    settings.bus = BusService::Bus::system;
  else if (bus_name == "session")
    settings.bus = BusService::Bus::session;
  else if (bus_name != "none") {
    g_printerr("virt-forwardd: --bus=%s: allowed are system, session, none\n", bus_name.c_str());
    std::exit(2);
  }
  return settings;
}

}  // namespace vf
