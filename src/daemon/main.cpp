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
#include <memory>
#include <optional>

#include "daemon/bus_service.h"
#include "daemon/forward_editor.h"
#include "daemon/hook_mark.h"
#include "daemon/hook_server.h"
#include "daemon/host_ports.h"
#include "daemon/idle_exit.h"
#include "daemon/journal.h"
#include "daemon/relay_client.h"
#include "daemon/runtime_socket.h"
#include "daemon/settings.h"
#include "daemon/ssh_program.h"
#include "glib/ref.h"
#include "offload/nft_host.h"
#include "offload/nftables.h"
#include "offload/redirect.h"
#include "policy/policy_file.h"
#include "transport/usernet_tunnels.h"

namespace vf {
namespace {

// As long as the reconciler keeps the ports of a start that goes no further.
constexpr std::chrono::seconds reservation_time{60};
// For who woke this daemon with a question: until libvirt and the relay have answered, or so long.
constexpr std::chrono::milliseconds answers_interval{20};
constexpr std::chrono::seconds answers_time{5};

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
  // Who runs the session's daemon owns its guests and their own keys.
  const bool session = settings.session();
  LoadedPolicy loaded =
      load_policy(settings.policy_directory, {.automatic = session, .own_ssh_keys = session});
  for (const PolicyProblem& problem : loaded.problems)
    log(LogLevel::error, "the host policy is wrong", {{"reason", problem.text()}});
  if (!loaded.problems.empty()) return std::nullopt;
  return std::move(loaded.policy);
}

int fail(const Error& error) {
  log(LogLevel::error, error.message);
  return exit_status(error.code);
}

// Of a daemon that was killed. Its offload may be needed late or never, and until then
// route_localnet would stay on behind nothing but a guard that any flush takes away.
void clear_rests() {
  const auto cleared = clear_nftables_rests();
  if (cleared || cleared.error().code == ErrorCode::not_supported ||
      cleared.error().code == ErrorCode::not_allowed)
    return;
  log(LogLevel::warning, "what an earlier daemon left of the nftables offload cannot be cleared",
      {{"reason", cleared.error().message}});
}

int run(const Settings& settings) {
  if (settings.clear_offloads) {
    const auto cleared = clear_nftables_rests();
    const bool done = cleared || cleared.error().code == ErrorCode::not_supported;
    return done ? 0 : fail(cleared.error());
  }
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
  HookMark hook_mark(settings.session() ? "" : directory + "/hook-heard");
  if (const auto heard = hook_mark.last()) table.set_hook_heard(*heard);
  Reconciler reconciler(std::move(*policy), ports, hints, table);
  RelayClient relay({directory + "/relay.sock", settings.relay_program, settings.relay_user},
                    reconciler);
  reconciler.use_relay(relay);
  if (!settings.session()) clear_rests();
  reconciler.use_offload(std::make_unique<RedirectOffload>(), Offloads::Start::with_relay);
  // Its tables make the host track connections.
  reconciler.use_offload(std::make_unique<NftablesOffload>(), Offloads::Start::when_needed);
  reconciler.use_agent_directory(settings.agent_directory);
  LibvirtHost libvirt(settings.uri, reconciler);
  reconciler.use_qemu_agents([&libvirt](const std::string& uuid, std::string command, auto done) {
    libvirt.ask_qemu_agent(uuid, std::move(command), std::move(done));
  });
  UsernetTunnels usernet(
      {.monitor = [&libvirt](const std::string& uuid, std::string command,
                             auto done) { libvirt.human_monitor(uuid, command, std::move(done)); }},
      reconciler);
  reconciler.use_tunnels(usernet);
  SshTunnels ssh(connector({settings.ssh_program, directory + "/ssh.sock", settings.ssh_user,
                            directory + "/ssh", settings.state_directory, settings.session()}),
                 reconciler);
  reconciler.use_tunnels(ssh);
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
                                   hook_mark.set();
                                   table.set_hook_heard(g_get_real_time() / G_USEC_PER_SEC);
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
      return asked || hook->busy() || reconciler.has_unclaimed() ||
             domains_need_daemon(table, woken);
    };
    // Who comes from here on to a socket of the service manager's wakes the next daemon.
    idle.emplace(*settings.exit_when_idle, needed, [&] {
      log(LogLevel::info, "nothing needs this daemon");
      hook.reset();
      bus->stop_accepting();
      // Before the relay ends: a daemon that is started meanwhile makes these anew.
      if (!settings.relay_program.empty()) unlink((directory + "/relay.sock").c_str());
      unlink((directory + "/ports").c_str());
      relay.shut_down([&] { ssh.shut_down([&] { g_main_loop_quit(loop.get()); }); });
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
