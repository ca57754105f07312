// SPDX-License-Identifier: LGPL-2.1-or-later
//
// virt-forward-relay: listens, connects and copies for virt-forwardd, which hands it its sockets;
// or by itself, for endpoints on its command line. It needs no privilege and opens no file.

#include <signal.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <clocale>
#include <cstddef>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "glib/ref.h"
#include "glib/source.h"
#include "relay/confinement.h"
#include "relay/control.h"
#include "relay/crew.h"
#include "relay/log.h"
#include "relay/standalone.h"
#include "relay/succession.h"

namespace {

using namespace vf;

constexpr int first_passed_fd = 3;  // SD_LISTEN_FDS_START
// For the control connection: listeners on their way in and duplicates on their way out.
constexpr std::size_t control_descriptors = 1024;
// Of the relay itself, and pipes.
constexpr std::size_t own_descriptors = 256;
constexpr int max_threads = 64;

std::size_t raise_descriptor_limit() {
  rlimit limit{};
  if (getrlimit(RLIMIT_NOFILE, &limit) < 0) return 1024;
  const rlimit raised{limit.rlim_max, limit.rlim_max};
  if (setrlimit(RLIMIT_NOFILE, &raised) == 0) limit = raised;
  return static_cast<std::size_t>(limit.rlim_cur);
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
  gint threads = static_cast<gint>(Crew::usual_pairs());
  gboolean take_over = FALSE;
  std::string control_path;
  gboolean version = FALSE;
  gboolean proxy_protocol = FALSE;
  gint idle_timeout = 0;
  gint max_connections = 0;
  gint exit_when_idle = 60;
  std::vector<std::string> endpoints;

  bool has_standalone() const {
    return proxy_protocol || idle_timeout != 0 || max_connections != 0;
  }
};

int wrong_usage(const std::string& what) {
  std::fprintf(stderr, "virt-forward-relay: %s\nSee virt-forward-relay --help\n", what.c_str());
  return exit_status(ErrorCode::invalid_argument);
}

// Prints what is wrong; the exit status then, else 0.
int parse(Options& options, int* argc, char*** argv) {
  gchar* control_path = nullptr;
  const GOptionEntry entries[] = {
      {"control-fd", 0, 0, G_OPTION_ARG_INT, &options.control_fd,
       "Listening SOCK_SEQPACKET socket on which the daemon connects", "N"},
      {"take-over", 0, 0, G_OPTION_ARG_NONE, &options.take_over,
       "Serve what the relay at --control serves, which drains and ends; in the background",
       nullptr},
      {"control", 0, 0, G_OPTION_ARG_FILENAME, &control_path, "Its control socket", "PATH"},
      {"threads", 0, 0, G_OPTION_ARG_INT, &options.threads,
       "Pairs of threads that carry connections (default: one for each core but one)", "N"},
      {"proxy-protocol", 0, 0, G_OPTION_ARG_NONE, &options.proxy_protocol,
       "Send a PROXY header, version 2, that tells the client's address", nullptr},
      {"idle-timeout", 0, 0, G_OPTION_ARG_INT, &options.idle_timeout,
       "End what carries nothing for so long (default: streams never)", "SECONDS"},
      {"max-connections", 0, 0, G_OPTION_ARG_INT, &options.max_connections,
       "How many at once for each pair (default: as many as there are descriptors)", "N"},
      {"exit-when-idle", 0, 0, G_OPTION_ARG_INT, &options.exit_when_idle,
       "Of a daemon: end when there was none for so long, nor anything to serve (default: 60)",
       "SECONDS"},
      {"version", 0, 0, G_OPTION_ARG_NONE, &options.version, "Print the version and exit", nullptr},
      {nullptr, 0, 0, G_OPTION_ARG_NONE, nullptr, nullptr, nullptr}};
  GOptionContext* const context = g_option_context_new("[LISTEN CONNECT]…");
  g_option_context_set_summary(
      context,
      "Serves the port forwards of virt-forwardd: started by it, or by systemd with one socket.\n"
      "With endpoints it serves those by itself, until SIGINT or SIGTERM, and prints a line for\n"
      "each: \"tcp:127.0.0.1:8080 -> tcp:192.0.2.7:80\".\n\n"
      "Endpoints:\n"
      "  tcp:ADDRESS:PORT         TCP; IPv6 in brackets: tcp:[::1]:8080\n"
      "  udp:ADDRESS:PORT         UDP, on both sides\n"
      "  unix:PATH                unix stream socket; unix:@NAME in the abstract namespace;\n"
      "                           to listen also unix:PATH,mode=0660,user=USER,group=GROUP\n"
      "  vsock:CID:PORT           socket of a virtual machine; to listen also vsock:any:PORT\n\n"
      "A LISTEN port of 0 is any free one.");
  g_option_context_add_main_entries(context, entries, nullptr);
  GErrorOut error;
  const gboolean parsed = g_option_context_parse(context, argc, argv, error.out());
  g_option_context_free(context);
  if (const GCharPtr owned(control_path); owned) options.control_path = owned.get();
  if (!parsed) return wrong_usage(error.message());
  for (int i = 1; i < *argc; ++i)
    if (std::string_view((*argv)[i]) != "--") options.endpoints.emplace_back((*argv)[i]);
  if (!options.endpoints.empty() && options.control_fd >= 0)
    return wrong_usage("--control-fd goes without endpoints");
  if (options.endpoints.empty() && options.has_standalone())
    return wrong_usage("--proxy-protocol, --idle-timeout and --max-connections go with endpoints");
  if (options.exit_when_idle < 1) return wrong_usage("--exit-when-idle is at least a second");
  if (options.idle_timeout < 0 || options.max_connections < 0)
    return wrong_usage("--idle-timeout and --max-connections are not negative");
  if (options.take_over != !options.control_path.empty())
    return wrong_usage("--take-over and --control go together");
  if (options.take_over && (!options.endpoints.empty() || options.control_fd >= 0))
    return wrong_usage("--take-over goes without endpoints and --control-fd");
  if (options.threads < 1 || options.threads > max_threads)
    return wrong_usage("--threads=" + std::to_string(options.threads) + ": allowed are 1 to " +
                       std::to_string(max_threads));
  return 0;
}

int fail(const std::string& what) {
  log_line(LogLevel::error, "virt-forward-relay: " + what);
  return 1;
}

// What both ways of running share: the limits and the end by a signal.
class Engine {
 public:
  // `reserved` descriptors are not for connections; `removes`: the socket files that this process
  // removes when it ends.
  explicit Engine(std::size_t reserved, const std::vector<std::string>& removes = {})
      : confinement_(removes), descriptors_(limit_ - std::min(limit_ / 4, reserved)) {}

  // When all threads have started and before the first client.
  void confine() {
    const auto confined = confinement_.complete();
    if (!confined)
      log_line(LogLevel::warning,
               "not confined by seccomp" + log_field("reason", confined.error().message));
  }
  Result<std::unique_ptr<Crew>> crew(std::size_t threads, RelayEvents& events) {
    return Crew::create(threads, descriptors_, events);
  }
  std::size_t descriptor_limit() const { return limit_; }
  std::string confinement() const { return confinement_.summary(); }
  void run() { g_main_loop_run(main_loop_.get()); }
  void stop() { g_main_loop_quit(main_loop_.get()); }

 private:
  Confinement confinement_;  // first: the signals' source starts a thread
  const std::size_t limit_ = raise_descriptor_limit();
  DescriptorBudget descriptors_;
  const Ref<GMainLoop> main_loop_ = adopt(g_main_loop_new(nullptr, FALSE));
  const Source terminate_ = on_signal(SIGTERM, [this] { stop(); });
  const Source interrupt_ = on_signal(SIGINT, [this] { stop(); });
};

// With `succession` its forwards too, from the beginning.
int serve_daemon(Fd control, const Options& options, Succession* succession = nullptr,
                 Background* background = nullptr) {
  const auto threads = static_cast<std::size_t>(options.threads);
  const std::chrono::seconds lonely_time(options.exit_when_idle);
  Engine engine(control_descriptors);
  auto server =
      ControlServer::create(std::move(control), nullptr, lonely_time, [&engine] { engine.stop(); });
  if (!server) return fail(server.error().message);
  auto crew = engine.crew(threads, **server);
  if (!crew) return fail(crew.error().message);
  std::vector<std::pair<std::string, std::uint8_t>> proven;
  if (succession)
    for (RelayHeld& held : succession->take_forwards()) {
      if (held.proven) proven.emplace_back(held.forward.key, held.endpoint);
      const auto staged =
          (*crew)->stage(RelayAdd{std::move(held.forward), std::move(held.listeners)});
      if (!staged) return fail(staged.error().message);
    }
  if (succession)
    for (RelayKept& kept : succession->take_kept())
      (*server)->keep(kept.name, std::move(kept.fds.at(0)));
  engine.confine();
  log_line(LogLevel::info, "confined" + engine.confinement());
  (*crew)->commit([&] {
    for (const auto& [key, endpoint] : proven)
      (*crew)->mark_proven(key, endpoint);
    if (succession) succession->retire_predecessor();
    (*server)->serve(**crew);
    log_line(LogLevel::info, "relay ready pid=" + std::to_string(getpid()) +
                                 " protocol=" + std::to_string(relay_protocol_version) +
                                 " descriptors=" + std::to_string(engine.descriptor_limit()) +
                                 " threads=" + std::to_string(threads) +
                                 " forwards=" + std::to_string((*crew)->size()));
    notify_service_manager((succession ? "MAINPID=" + std::to_string(getpid()) + '\n' : "") +
                           "READY=1");
    if (background) background->serving();
  });
  engine.run();
  // A successor is the service by now.
  if (!(*server)->retired()) notify_service_manager("STOPPING=1");
  log_line(LogLevel::info, "relay ends forwards=" + std::to_string((*crew)->size()));
  (*server)->stop();
  return 0;
}

int take_over(const Options& options) {
  auto background = Background::enter();
  if (!background) return fail(background.error().message);
  raise_descriptor_limit();
  auto succession = Succession::from(options.control_path);
  if (!succession) return fail(succession.error().message);
  return serve_daemon(succession->take_control_socket(), options, &*succession, &*background);
}

int serve_endpoints(const Options& options, std::size_t threads) {
  const StandaloneOptions wanted{options.proxy_protocol != FALSE,
                                 static_cast<std::uint32_t>(options.idle_timeout),
                                 static_cast<std::uint32_t>(options.max_connections)};
  auto made = standalone_forwards(options.endpoints, wanted);
  if (!made) {
    if (made.error().code == ErrorCode::invalid_argument) return wrong_usage(made.error().message);
    std::fprintf(stderr, "virt-forward-relay: %s\n", made.error().message.c_str());
    return exit_status(made.error().code);
  }
  Engine engine(own_descriptors, made->paths());
  StandaloneEvents events;
  auto crew = engine.crew(threads, events);
  if (!crew) return fail(crew.error().message);
  std::string served;
  for (RelayAdd& forward : made->forwards) {
    served += forward.forward.key + '\n';
    const auto staged = (*crew)->stage(std::move(forward));
    if (!staged) return fail(staged.error().message);
  }
  std::fputs(served.c_str(), stdout);  // makes its buffer while it may
  engine.confine();
  (*crew)->commit({});
  // Where nobody learns the ports nobody can connect.
  if (std::fflush(stdout) != 0)
    return fail("standard output: " + system_error(errno, "write").message);
  notify_service_manager("READY=1");
  engine.run();
  return 0;
}

}  // namespace

int main(int argc, char** argv) {
  signal(SIGPIPE, SIG_IGN);
  std::setlocale(LC_ALL, "");
  Options options;
  const int status = parse(options, &argc, &argv);
  if (status != 0) return status;
  if (options.version) {
    std::printf("virt-forward-relay %s\n", VF_VERSION);
    return 0;
  }
  const auto threads = static_cast<std::size_t>(options.threads);
  if (!options.endpoints.empty()) return serve_endpoints(options, threads);
  if (options.take_over) return take_over(options);
  const int control = options.control_fd >= 0 ? options.control_fd : activated_fd();
  if (control < 0)
    return wrong_usage(
        "nothing to serve: give endpoints, or --control-fd, or start it by "
        "virt-forward-relay.socket");
  return serve_daemon(Fd(control), options);
}
