// SPDX-License-Identifier: LGPL-2.1-or-later
//
// virt-forwardd: the daemon of one libvirt connection.

#include <libvirt-glib/libvirt-glib.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <systemd/sd-daemon.h>
#include <unistd.h>

#include <chrono>
#include <csignal>
#include <cstdlib>
#include <optional>

#include "daemon/bus_service.h"
#include "daemon/forward_editor.h"
#include "daemon/hook_server.h"
#include "daemon/host_ports.h"
#include "daemon/idle_exit.h"
#include "daemon/journal.h"
#include "daemon/policy_file.h"
#include "daemon/relay_client.h"
#include "daemon/runtime_socket.h"
#include "glib/ref.h"

namespace vf {
namespace {

struct Settings {
  std::string uri;
  std::string runtime_directory;
  std::string policy_directory;
  std::string relay_program = VF_RELAY_PROGRAM;
  std::string relay_user;
  std::string agent_directory;
  BusService::Bus bus = BusService::Bus::none;
  std::optional<std::chrono::seconds> exit_when_idle;
};

// As long as the reconciler keeps the ports of a start that goes no further.
constexpr std::chrono::seconds reservation_time{60};
// For who woke this daemon with a question: until libvirt and the relay have answered, or so long.
constexpr std::chrono::milliseconds answers_interval{20};
constexpr std::chrono::seconds answers_time{5};

bool is_system_uri(const std::string& uri) {
  return uri.ends_with("/system");
}

// $RUNTIME of the design: /run for the system daemon, the user's runtime directory otherwise.
std::string runtime_base(bool system) {
  if (system) return "/run";
  const char* directory = std::getenv("XDG_RUNTIME_DIR");
  return directory && *directory ? directory : "/run/user/" + std::to_string(getuid());
}

// The settings of the command line; ends the program for --help, --version and wrong usage.
Settings read_command_line(int argc, char** argv) {
  gchar *uri = nullptr, *runtime = nullptr, *policy = nullptr;
  gchar *relay = nullptr, *relay_user = nullptr, *bus = nullptr, *agents = nullptr;
  gint idle = 0;
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
      {"bus", 0, 0, G_OPTION_ARG_STRING, &bus,
       "bus to own org.virtforward1 on: system, session or none (default: by the connection)",
       "BUS"},
      {"exit-when-idle", 0, 0, G_OPTION_ARG_INT, &idle,
       "end when nothing has needed this daemon for so long, see virt-forwardd(8)", "SECONDS"},
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
  settings.agent_directory = or_else(agents, "");
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

// Two sockets for each forward: the soft limit of 1,024 descriptors is for programs with select().
void raise_descriptor_limit() {
  rlimit limit{};
  if (getrlimit(RLIMIT_NOFILE, &limit) != 0) return;
  limit.rlim_cur = limit.rlim_max;
  setrlimit(RLIMIT_NOFILE, &limit);
}

Result<void> make_runtime_directory(const std::string& path) {
  if (g_mkdir_with_parents(path.c_str(), 0755) < 0) return Unexpected(system_error(errno, path));
  struct stat info {};
  if (lstat(path.c_str(), &info) < 0) return Unexpected(system_error(errno, path));
  if (!S_ISDIR(info.st_mode) || info.st_uid != getuid() || (info.st_mode & 022) != 0)
    return Unexpected(ErrorCode::failed,
                      path + " is not a directory that only this user can write");
  return {};
}

// Nothing where the policy has a mistake: the defaults would allow what somebody meant to forbid.
std::optional<Policy> loaded_policy(const Settings& settings) {
  // Who runs the session's daemon owns its guests.
  LoadedPolicy loaded =
      load_policy(settings.policy_directory, {.automatic = settings.uri.ends_with("/session")});
  for (const std::string& problem : loaded.problems)
    log(LogLevel::error, "the host policy is wrong", {{"reason", problem}});
  if (!loaded.problems.empty()) return std::nullopt;
  return std::move(loaded.policy);
}

int fail(const Error& error) {
  log(LogLevel::error, error.message);
  return exit_status(error.code);
}

int run(const Settings& settings) {
  raise_descriptor_limit();
  if (auto made = make_runtime_directory(settings.runtime_directory); !made)
    return fail(made.error());

  gvir_event_register();
  const Ref<GMainLoop> loop = adopt(g_main_loop_new(nullptr, FALSE));
  const std::string& directory = settings.runtime_directory;

  // Before anything listens: who finds a listener has found a daemon.
  auto policy = loaded_policy(settings);
  if (!policy)
    return fail({ErrorCode::failed, "not starting with a wrong host policy: mend it in " +
                                        settings.policy_directory + ", see virt-forward.conf(5)"});

  // Of two daemons that start at once, the first to have the private socket is the one.
  InheritedSockets inherited;
  auto bus_socket = inherited.listen(directory + "/bus.sock");
  if (!bus_socket) return fail(bus_socket.error());
  auto hook_socket = inherited.listen(directory + "/hook.sock");
  if (!hook_socket) return fail(hook_socket.error());
  const bool woken = hook_socket->inherited();

  HostPorts ports;
  PortHints hints(directory + "/ports");
  ForwardTable table(settings.uri);
  Reconciler reconciler(std::move(*policy), ports, hints, table);
  RelayClient relay({directory + "/relay.sock", settings.relay_program, settings.relay_user},
                    reconciler);
  reconciler.use_relay(relay);
  reconciler.use_agent_directory(settings.agent_directory);
  LibvirtHost libvirt(settings.uri, reconciler);
  reconciler.use_qemu_agents([&libvirt](const std::string& uuid, std::string command, auto done) {
    libvirt.ask_qemu_agent(uuid, std::move(command), std::move(done));
  });
  ForwardEditor editor(reconciler, table, libvirt, relay);

  std::optional<IdleExit> idle;
  const auto prepare = [&](const HookMessage& message, HookServer::Answer answer) {
    // Otherwise a run whose end is still to be read would stand for the one that begins.
    if (message.run) libvirt.starting(message.uuid, *message.run, message.moment);
    const auto reserve = [&reconciler, message, answer = std::move(answer)] {
      auto reserved = reconciler.reserve(message.uuid, message.name, message.element);
      if (answer) answer(std::move(reserved));
    };
    // The ports of a run that has only just ended are free when the relay has let go of them.
    if (relay.ready())
      relay.commit(reserve);
    else
      reserve();
  };
  std::optional<HookServer> hook(std::in_place, *std::move(hook_socket),
                                 [&](const HookMessage& message, HookServer::Answer answer) {
                                   if (idle) idle->happened();
                                   if (message.operation == HookOperation::prepare) {
                                     if (idle) idle->hold(message.uuid, reservation_time);
                                     return prepare(message, std::move(answer));
                                   }
                                   if (message.operation == HookOperation::release) {
                                     if (idle) idle->let_go(message.uuid);
                                     reconciler.release(message.uuid);
                                   }
                                   libvirt.refresh(message.uuid);
                                 });
  std::unique_ptr<BusService> bus;
  const auto serve_bus = [&] {
    bus = *BusService::start({settings.bus, {}}, table, editor, *std::move(bus_socket));
  };
  Source answers;
  if (settings.exit_when_idle) {
    const auto late = std::chrono::steady_clock::now() + answers_time;
    answers = every(answers_interval, [&, late] {
      const bool known = table.libvirt_connected() && table.relay_connected();
      if (!known && std::chrono::steady_clock::now() < late) return;
      answers.reset();
      serve_bus();
    });
    const auto needed = [&, woken] {
      const bool asked = !bus || bus->busy();
      return asked || hook->busy() || domains_need_daemon(table, woken);
    };
    // Who comes from here on to a socket of the service manager's wakes the next daemon.
    idle.emplace(*settings.exit_when_idle, needed, [&] {
      log(LogLevel::info, "nothing needs this daemon");
      hook.reset();
      bus->stop_accepting();
      relay.shut_down([&] {
        if (!settings.relay_program.empty()) unlink((directory + "/relay.sock").c_str());
        unlink((directory + "/ports").c_str());
        g_main_loop_quit(loop.get());
      });
    });
  } else {
    serve_bus();
  }

  const auto stop = [&loop] { g_main_loop_quit(loop.get()); };
  const Source on_term = on_signal(SIGTERM, stop);
  const Source on_interrupt = on_signal(SIGINT, stop);
  const Source on_reload = on_signal(SIGHUP, [&] {
    if (auto fresh = loaded_policy(settings))
      reconciler.set_policy(std::move(*fresh));
    else
      log(LogLevel::error, "the host policy stays as it was");
  });

  relay.start();
  libvirt.start();
  sd_notify(0, "READY=1");
  log(LogLevel::info, "started", {{"uri", settings.uri}, {"runtime", directory}});
  g_main_loop_run(loop.get());
  sd_notify(0, "STOPPING=1");
  log(LogLevel::info, hook ? "stopped; forwards stay with the relay" : "ended, with the relay");
  return 0;
}

}  // namespace
}  // namespace vf

int main(int argc, char** argv) {
  std::signal(SIGPIPE, SIG_IGN);
  return vf::run(vf::read_command_line(argc, argv));
}
