// SPDX-License-Identifier: LGPL-2.1-or-later
//
// virt-forward-ssh: runs OpenSSH's client for virt-forwardd, one master for each guest that is
// reached that way, and lays tunnels from unix sockets, to which the relay connects, into guests.

#include <signal.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <systemd/sd-daemon.h>
#include <unistd.h>

#include <climits>
#include <clocale>
#include <cstdio>
#include <cstdlib>
#include <string>

#include "glib/ref.h"
#include "glib/source.h"
#include "ssh/service.h"
#include "ssh/vsock_connect.h"

namespace {

using namespace vf;

struct Options {
  int control_fd = -1;
  std::string sockets;
  std::string state;
  std::string ssh = "/usr/bin/ssh";
  std::string connect_vsock;
  bool own_keys = false;
  bool version = false;
};

void log_line(const std::string& line) {
  std::fprintf(stderr, "virt-forward-ssh: %s\n", line.c_str());
}

int fail(const Error& error) {
  log_line(error.message);
  return exit_status(error.code);
}

Result<Options> parse(int argc, char** argv) {
  gint control_fd = -1;
  gchar *sockets = nullptr, *state = nullptr, *ssh = nullptr, *vsock = nullptr;
  gboolean own_keys = FALSE, version = FALSE;
  const GOptionEntry entries[] = {
      {"control-fd", 0, 0, G_OPTION_ARG_INT, &control_fd,
       "Listening SOCK_SEQPACKET socket on which the daemon connects", "N"},
      {"sockets", 0, 0, G_OPTION_ARG_FILENAME, &sockets,
       "Directory for the sockets at which tunnels begin; emptied", "DIR"},
      {"state", 0, 0, G_OPTION_ARG_FILENAME, &state, "Directory in which host keys are kept",
       "DIR"},
      {"own-keys", 0, 0, G_OPTION_ARG_NONE, &own_keys,
       "Where no key is named, use the keys and the agent of the user who runs this", nullptr},
      {"ssh", 0, 0, G_OPTION_ARG_FILENAME, &ssh, "OpenSSH's client (default: /usr/bin/ssh)",
       "PROGRAM"},
      {"connect-vsock", 0, G_OPTION_FLAG_HIDDEN, G_OPTION_ARG_STRING, &vsock,
       "For ssh: connect there and pass the socket over standard output", "CID:PORT"},
      {"version", 0, 0, G_OPTION_ARG_NONE, &version, "Print the version and exit", nullptr},
      {nullptr, 0, 0, G_OPTION_ARG_NONE, nullptr, nullptr, nullptr}};
  GOptionContext* const context = g_option_context_new(nullptr);
  g_option_context_set_summary(
      context, "Runs ssh for virt-forwardd: started by it, or by systemd with one socket.");
  g_option_context_add_main_entries(context, entries, nullptr);
  GErrorOut error;
  const gboolean parsed = g_option_context_parse(context, &argc, &argv, error.out());
  g_option_context_free(context);
  Options options;
  options.control_fd = control_fd;
  options.sockets = take_string(sockets);
  options.state = take_string(state);
  if (ssh) options.ssh = take_string(ssh);
  options.connect_vsock = take_string(vsock);
  options.own_keys = own_keys != FALSE;
  options.version = version != FALSE;
  const auto wrong = [](std::string what) {
    return Unexpected(ErrorCode::invalid_argument, what + ", see virt-forward-ssh --help");
  };
  if (!parsed) return wrong(error.message());
  if (argc > 1) return wrong("it takes no arguments");
  if (options.version || !options.connect_vsock.empty()) return options;
  if (options.sockets.empty() || options.state.empty())
    return wrong("--sockets and --state are needed");
  if (!options.ssh.starts_with('/')) return wrong("--ssh is not an absolute path");
  if (options.control_fd < 0 && sd_listen_fds(0) == 1) options.control_fd = SD_LISTEN_FDS_START;
  if (options.control_fd < 0)
    return wrong("nothing to serve: give --control-fd, or start it by virt-forward-ssh.socket");
  return options;
}

// What ssh is to run; the name stays good when the file is replaced.
std::string own_path() {
  char path[PATH_MAX];
  const ssize_t length = readlink("/proc/self/exe", path, sizeof path);
  return length > 0 ? std::string(path, static_cast<std::size_t>(length)) : std::string();
}

// Two for each connection of a master, which inherits the limit.
void raise_descriptor_limit() {
  rlimit limit{};
  if (getrlimit(RLIMIT_NOFILE, &limit) < 0) return;
  limit.rlim_cur = limit.rlim_max;
  setrlimit(RLIMIT_NOFILE, &limit);
}

int serve(const Options& options) {
  prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
  raise_descriptor_limit();
  auto places = Places::prepare(options.sockets, options.state);
  if (!places) return fail(places.error());
  SshSettings settings;
  settings.ssh = options.ssh;
  settings.own_program = own_path();
  settings.own_keys = options.own_keys;

  const Ref<GMainLoop> loop = adopt(g_main_loop_new(nullptr, FALSE));
  const auto stop = [&loop] { g_main_loop_quit(loop.get()); };
  auto service = SshService::create(Fd(options.control_fd), std::move(*places), std::move(settings),
                                    log_line, stop);
  if (!service) return fail(service.error());
  const Source on_term = on_signal(SIGTERM, stop);
  const Source on_interrupt = on_signal(SIGINT, stop);
  unsetenv("LISTEN_PID");
  unsetenv("LISTEN_FDS");
  sd_notify(0, "READY=1");
  g_main_loop_run(loop.get());
  sd_notify(0, "STOPPING=1");
  return 0;
}

}  // namespace

int main(int argc, char** argv) {
  signal(SIGPIPE, SIG_IGN);
  std::setlocale(LC_ALL, "");
  umask(0077);
  const auto options = parse(argc, argv);
  if (!options) return fail(options.error());
  if (options->version) {
    std::printf("virt-forward-ssh %s\n", VF_VERSION);
    return 0;
  }
  if (options->connect_vsock.empty()) return serve(*options);
  const auto endpoint = parse_vsock(options->connect_vsock);
  if (!endpoint)
    return fail({ErrorCode::invalid_argument, "--connect-vsock wants CID:PORT of a guest"});
  const auto connected = connect_vsock_for_ssh(*endpoint);
  return connected ? 0 : fail(connected.error());
}
