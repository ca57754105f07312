// SPDX-License-Identifier: LGPL-2.1-or-later
//
// virt-forward-relay: listens, connects and copies for virt-forwardd, which hands it its sockets.
// It needs no privilege and opens no file.

#include <signal.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <cstddef>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>
#include <string_view>

#include "glib/ref.h"
#include "glib/source.h"
#include "relay/control.h"
#include "relay/log.h"
#include "relay/loop.h"
#include "relay/served_forwards.h"

namespace {

using namespace vf;

constexpr int first_passed_fd = 3;  // SD_LISTEN_FDS_START
// For the control connection: listeners on their way in and duplicates on their way out.
constexpr std::size_t reserved_descriptors = 1024;

std::size_t raise_descriptor_limit() {
  rlimit limit{};
  if (getrlimit(RLIMIT_NOFILE, &limit) < 0) return 1024;
  const rlimit raised{limit.rlim_max, limit.rlim_max};
  if (setrlimit(RLIMIT_NOFILE, &raised) == 0) limit = raised;
  return static_cast<std::size_t>(limit.rlim_cur);
}

void confine() {
  prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
#if !defined(__SANITIZE_ADDRESS__)  // its leak check attaches to the process
  prctl(PR_SET_DUMPABLE, 0, 0, 0, 0);
#endif
}

// Of socket activation: exactly one socket, meant for this process.
int activated_fd() {
  const char* const pid = std::getenv("LISTEN_PID");
  const char* const count = std::getenv("LISTEN_FDS");
  if (!pid || !count || std::to_string(getpid()) != pid || std::string_view(count) != "1")
    return -1;
  return first_passed_fd;
}

// As sd_notify(3), for one state and without its library.
void notify_service_manager(std::string_view state) {
  const char* const path = std::getenv("NOTIFY_SOCKET");
  if (!path) return;
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  const std::size_t length = std::strlen(path);
  if (length == 0 || length >= sizeof address.sun_path) return;
  std::memcpy(address.sun_path, path, length);
  if (address.sun_path[0] == '@') address.sun_path[0] = '\0';
  const Fd socket(::socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0));
  if (!socket) return;
  sendto(socket.get(), state.data(), state.size(), MSG_NOSIGNAL,
         reinterpret_cast<const sockaddr*>(&address),
         static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + length));
}

struct Options {
  gint control_fd = -1;
  gboolean version = FALSE;
};

// Prints what is wrong; the exit status then, else 0.
int parse(Options& options, int* argc, char*** argv) {
  const GOptionEntry entries[] = {
      {"control-fd", 0, 0, G_OPTION_ARG_INT, &options.control_fd,
       "Listening SOCK_SEQPACKET socket on which the daemon connects", "N"},
      {"version", 0, 0, G_OPTION_ARG_NONE, &options.version, "Print the version and exit", nullptr},
      {nullptr, 0, 0, G_OPTION_ARG_NONE, nullptr, nullptr, nullptr}};
  GOptionContext* const context = g_option_context_new(nullptr);
  g_option_context_set_summary(
      context,
      "Serves the port forwards of virt-forwardd. Started by it, or by systemd with one socket.");
  g_option_context_add_main_entries(context, entries, nullptr);
  GErrorOut error;
  const gboolean parsed = g_option_context_parse(context, argc, argv, error.out());
  g_option_context_free(context);
  if (!parsed || *argc > 1) {
    std::fprintf(stderr, "virt-forward-relay: %s\nSee virt-forward-relay --help\n",
                 parsed ? "unexpected argument" : error.message().c_str());
    return 2;
  }
  return 0;
}

int fail(const std::string& what) {
  log_line(LogLevel::error, "virt-forward-relay: " + what);
  return 1;
}

int run(Fd control) {
  signal(SIGPIPE, SIG_IGN);
  confine();
  const std::size_t limit = raise_descriptor_limit();
  DescriptorBudget descriptors(limit - std::min(limit / 4, reserved_descriptors));

  const auto main_loop = adopt(g_main_loop_new(nullptr, FALSE));
  const auto stop = [&main_loop] { g_main_loop_quit(main_loop.get()); };
  auto loop = Loop::create(nullptr);
  if (!loop) return fail(loop.error().message);
  auto server = ControlServer::create(std::move(control), nullptr, stop);
  if (!server) return fail(server.error().message);

  RelayContext context{**loop, descriptors, **server};
  ServedForwards table(context);
  (*server)->serve(table);
  const Source terminate = on_signal(SIGTERM, stop);
  const Source interrupt = on_signal(SIGINT, stop);
  log_line(LogLevel::info, "relay ready pid=" + std::to_string(getpid()) +
                               " protocol=" + std::to_string(relay_protocol_version) +
                               " descriptors=" + std::to_string(limit));
  notify_service_manager("READY=1");
  g_main_loop_run(main_loop.get());
  notify_service_manager("STOPPING=1");
  log_line(LogLevel::info, "relay ends forwards=" + std::to_string(table.size()));
  return 0;
}

}  // namespace

int main(int argc, char** argv) {
  Options options;
  const int status = parse(options, &argc, &argv);
  if (status != 0) return status;
  if (options.version) {
    std::printf("virt-forward-relay %s\n", VF_VERSION);
    return 0;
  }
  const int control = options.control_fd >= 0 ? options.control_fd : activated_fd();
  if (control < 0) {
    std::fprintf(stderr,
                 "virt-forward-relay: no control socket: give --control-fd or start it by "
                 "virt-forward-relay.socket\n");
    return 2;
  }
  return run(Fd(control));
}
