// SPDX-License-Identifier: LGPL-2.1-or-later
//
// virt-forward-guest: tells the host's virt-forward what listens in this guest, and connects it
// there.

#include <getopt.h>
#include <linux/vm_sockets.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <optional>
#include <string>
#include <string_view>
#include <utility>

#include "base/listening_socket.h"
#include "base/socket_file.h"
#include "guest/config.h"
#include "guest/log.h"
#include "guest/loop.h"
#include "guest/server.h"
#include "guest/socket_table.h"

namespace {

using namespace vf;
using namespace vf::guest;

constexpr std::string_view help =
    "usage: virt-forward-guest [OPTION...]\n"
    "\n"
    "Tells the host what listens in this guest, and connects the host to it.\n"
    "\n"
    "  --listen=WHERE   vsock (port 1010), or unix:PATH for tests\n"
    "  --config=FILE    instead of /etc/virt-forward/guest.conf\n"
    "  --check          say whether the configuration is right, and exit\n"
    "  --version        print the version\n"
    "  --help           print this\n";

struct Options {
  std::string listen = "vsock";
  std::string config = "/etc/virt-forward/guest.conf";
  bool check = false;
};

int fail(const Error& error) {
  log_line(LogLevel::error, error.message);
  return 1;
}

// Two descriptors for a session. A service manager may have given fewer than root can have.
std::size_t most_sessions() {
  rlimit limit{};
  if (getrlimit(RLIMIT_NOFILE, &limit) < 0) return 64;
  const Limits limits;
  const rlim_t own = 64 + limits.requests + Watch::max_listeners;
  const rlim_t wanted = own + 2 * limits.sessions;
  for (const rlim_t most : {std::max(limit.rlim_max, wanted), limit.rlim_max}) {
    const rlimit raised{most, most};
    if (setrlimit(RLIMIT_NOFILE, &raised) < 0) continue;
    limit = raised;
    break;
  }
  if (limit.rlim_cur < own + 128) return 64;
  return std::min<std::size_t>(limits.sessions, (limit.rlim_cur - own) / 2);
}

struct Listening {
  Fd socket;
  std::optional<SocketFile> file;
};

Result<Listening> listen_at(const std::string& where) {
  if (where.starts_with("unix:")) {
    auto made = SocketFile::listen(where.substr(5), SocketAccess{0600, {}, {}});
    if (!made) return Unexpected(std::move(made).error());
    return Listening{std::move(made->socket), std::move(made->file)};
  }
  if (where != "vsock")
    return Unexpected(ErrorCode::invalid_argument, "--listen is vsock or unix:PATH");
  auto made = listen_vsock({VMADDR_CID_ANY, guest_agent_port});
  if (const auto* const failed = std::get_if<ListenFailure>(&made)) {
    Error error =
        system_error(failed->error_number, "vsock port 1010: " + std::string(failed->call));
    if (failed->error_number == EAFNOSUPPORT)
      error.message += " (is the module vmw_vsock_virtio_transport loaded?)";
    return Unexpected(std::move(error));
  }
  return Listening{std::move(std::get<Fd>(made)), std::nullopt};
}

// SIGHUP reads the configuration again; SIGTERM and SIGINT end the program.
class Signals final : public Handler {
 public:
  Signals(Loop& loop, Server& server, const std::string& config)
      : loop_(loop), server_(server), config_(config) {}

  [[nodiscard]] bool start() {
    sigset_t set;
    sigemptyset(&set);
    for (const int number : {SIGHUP, SIGTERM, SIGINT})
      sigaddset(&set, number);
    sigprocmask(SIG_BLOCK, &set, nullptr);
    fd_.reset(signalfd(-1, &set, SFD_NONBLOCK | SFD_CLOEXEC));
    return fd_ && loop_.watch(fd_.get(), EPOLLIN, *this);
  }

  void ready(std::uint32_t) override {
    signalfd_siginfo signal{};
    if (read(fd_.get(), &signal, sizeof signal) != static_cast<ssize_t>(sizeof signal)) return;
    if (signal.ssi_signo != SIGHUP) return loop_.stop();
    auto config = Config::load(config_);
    if (!config)
      return log_line(LogLevel::error,
                      config.error().message + "; the configuration stays as it was");
    server_.configure(std::move(*config));
    log_line(LogLevel::info, "the configuration was read again");
  }

 private:
  Loop& loop_;
  Server& server_;
  const std::string& config_;
  Fd fd_;
};

int run(const Options& options) {
  auto config = Config::load(options.config);
  if (!config) return fail(config.error());
  if (options.check) return 0;
  auto listening = listen_at(options.listen);
  if (!listening) return fail(listening.error());
  const auto token = make_token();
  if (!token) return fail(token.error());
  auto loop = Loop::create();
  if (!loop) return fail(loop.error());

  Limits limits;
  limits.sessions = most_sessions();
  KernelSocketTable sockets;
  Server server(**loop, sockets, std::move(*config), *token, limits);
  Signals signals(**loop, server, options.config);
  if (!signals.start() || !server.serve(std::move(listening->socket)))
    return fail(system_error(errno, "epoll_ctl"));
  signal(SIGPIPE, SIG_IGN);
  log_line(LogLevel::info, "listening on " + options.listen);
  (*loop)->run();
  return 0;
}

}  // namespace

int main(int argc, char** argv) {
  static const option known[] = {
      {"listen", required_argument, nullptr, 'l'}, {"config", required_argument, nullptr, 'c'},
      {"check", no_argument, nullptr, 'k'},        {"version", no_argument, nullptr, 'v'},
      {"help", no_argument, nullptr, 'h'},         {nullptr, 0, nullptr, 0}};
  Options options;
  for (int got = 0; (got = getopt_long(argc, argv, "", known, nullptr)) != -1;) {
    switch (got) {
      case 'l':
        options.listen = optarg;
        break;
      case 'c':
        options.config = optarg;
        break;
      case 'k':
        options.check = true;
        break;
      case 'v':
        std::puts("virt-forward-guest " VF_VERSION);
        return 0;
      case 'h':
        std::fputs(help.data(), stdout);
        return 0;
      default:
        return 2;
    }
  }
  if (optind < argc) {
    std::fputs(help.data(), stderr);
    return 2;
  }
  return run(options);
}
