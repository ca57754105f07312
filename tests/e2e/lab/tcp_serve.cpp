// SPDX-License-Identifier: LGPL-2.1-or-later
//
// tcp-serve [OPTION...] ADDRESS PORT
//
// A server for guests: goes to the background once it listens. Any number of connections in one
// process. Static, as the guest has no libraries.
//
//   -g TEXT      says that first on every connection
//   -n NAME      calls itself so (prctl), before it listens; -N NAME: afterwards
//   -m digest    swallows what comes and says at its end "BYTES ADLER32\n", decimal
//   -m source    says N MiB (-c N) of noise and their Adler-32 as eight hexadecimal digits
//   -m echo      what comes goes back; the default
//   -t MS        ends after that time
//   -r N,UP,DOWN stays in the foreground: a child listens for UP ms and dies, DOWN ms later the
//                next, N of them; every listen() is a line with its moment (CLOCK_MONOTONIC, ns)

#include <arpa/inet.h>
#include <signal.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <ctime>
#include <memory>
#include <string>
#include <string_view>

namespace {

struct Options {
  std::string greeting, name, later_name;
  std::string_view mode = "echo";
  std::uint64_t mib = 1;
  int lifetime_ms = -1;
  int times = 0, up_ms = 0, down_ms = 0;
};

std::array<char, 65536> buffer;
constexpr std::uint64_t mib_bytes = 1 << 20;

class Adler {
 public:
  void add(const char* data, std::size_t size) {
    while (size > 0) {
      const std::size_t part = size < 5552 ? size : 5552;  // no overflow up to there
      for (std::size_t i = 0; i < part; ++i)
        b_ += a_ += static_cast<unsigned char>(data[i]);
      a_ %= 65521;
      b_ %= 65521;
      data += part;
      size -= part;
    }
  }
  std::uint32_t value() const { return b_ << 16 | a_; }

 private:
  std::uint32_t a_ = 1, b_ = 0;
};

struct Connection {
  int fd = -1;
  std::string unsent;
  std::uint64_t bytes = 0;  // read, or said
  std::uint64_t noise = 0x9e3779b97f4a7c15;
  Adler digest;
  bool ended = false;  // nothing comes, or nothing is to be said, any more
};

void make_noise(Connection& connection) {
  std::uint64_t state = connection.noise;
  connection.unsent.resize(buffer.size());
  auto* const words = reinterpret_cast<std::uint64_t*>(connection.unsent.data());
  for (std::size_t i = 0; i < buffer.size() / sizeof state; ++i) {
    state ^= state << 13;
    state ^= state >> 7;
    state ^= state << 17;
    words[i] = state;
  }
  connection.noise = state;
  connection.digest.add(connection.unsent.data(), connection.unsent.size());
  connection.bytes += connection.unsent.size();
}

// What is to be said next, when all before it has been. False: what the client says comes first.
bool refill(Connection& connection, const Options& options) {
  std::array<char, 64> text{};
  if (options.mode == "source") {
    if (connection.ended) return false;
    if (connection.bytes < options.mib * mib_bytes) {
      make_noise(connection);
      return true;
    }
    std::snprintf(text.data(), text.size(), "%08x", connection.digest.value());
    connection.unsent = text.data();
    connection.ended = true;
    return true;
  }
  const ssize_t size = recv(connection.fd, buffer.data(), buffer.size(), 0);
  if (size < 0) return false;
  if (size > 0) {
    connection.bytes += static_cast<std::uint64_t>(size);
    if (options.mode == "digest")
      connection.digest.add(buffer.data(), static_cast<std::size_t>(size));
    else
      connection.unsent.assign(buffer.data(), static_cast<std::size_t>(size));
    return true;
  }
  if (connection.ended) return false;
  connection.ended = true;
  errno = 0;
  if (options.mode != "digest") return false;
  std::snprintf(text.data(), text.size(), "%llu %u\n",
                static_cast<unsigned long long>(connection.bytes), connection.digest.value());
  connection.unsent = text.data();
  return true;
}

// What epoll is to tell of it.
epoll_event interest(Connection& connection, const Options& options) {
  const bool speaks = !connection.unsent.empty() || options.mode == "source";
  epoll_event wanted{speaks ? EPOLLOUT : EPOLLIN, {}};
  wanted.data.ptr = &connection;
  return wanted;
}

// False: it is over.
bool serve(Connection& connection, const Options& options) {
  for (int turns = 0; turns < 16;) {
    if (connection.unsent.empty()) {
      ++turns;
      if (!refill(connection, options)) {
        if (!connection.ended) return errno == EAGAIN;
        shutdown(connection.fd, SHUT_WR);
        return false;
      }
      continue;
    }
    const ssize_t size =
        send(connection.fd, connection.unsent.data(), connection.unsent.size(), MSG_NOSIGNAL);
    if (size < 0) return errno == EAGAIN;
    connection.unsent.erase(0, static_cast<std::size_t>(size));
  }
  return true;
}

int listen_on(const char* address, const char* port) {
  const bool six = std::string_view(address).find(':') != std::string_view::npos;
  const auto number = htons(static_cast<std::uint16_t>(std::atoi(port)));
  const int fd = socket(six ? AF_INET6 : AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
  const int on = 1;
  setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
  sockaddr_in local{};
  local.sin_family = AF_INET;
  local.sin_port = number;
  sockaddr_in6 local6{};
  local6.sin6_family = AF_INET6;
  local6.sin6_port = number;
  const int parsed = six ? inet_pton(AF_INET6, address, &local6.sin6_addr)
                         : inet_pton(AF_INET, address, &local.sin_addr);
  const int bound = six ? bind(fd, reinterpret_cast<const sockaddr*>(&local6), sizeof local6)
                        : bind(fd, reinterpret_cast<const sockaddr*>(&local), sizeof local);
  if (parsed != 1 || bound < 0 || listen(fd, 4096) < 0) {
    std::perror("tcp-serve");
    std::exit(1);
  }
  return fd;
}

void accept_all(int listener, int epoll, const Options& options) {
  while (true) {
    const int fd = accept4(listener, nullptr, nullptr, SOCK_NONBLOCK | SOCK_CLOEXEC);
    if (fd < 0) return;
    auto connection = std::make_unique<Connection>();
    connection->fd = fd;
    connection->unsent = options.greeting;
    epoll_event wanted = interest(*connection, options);
    if (epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &wanted) == 0) static_cast<void>(connection.release());
  }
}

[[noreturn]] void run(int listener, const Options& options) {
  const int epoll = epoll_create1(EPOLL_CLOEXEC);
  epoll_event wanted{EPOLLIN, {}};
  epoll_ctl(epoll, EPOLL_CTL_ADD, listener, &wanted);
  std::array<epoll_event, 64> ready;
  while (true) {
    const int count = epoll_wait(epoll, ready.data(), ready.size(), -1);
    for (int i = 0; i < count; ++i) {
      auto* const connection =
          static_cast<Connection*>(ready[static_cast<std::size_t>(i)].data.ptr);
      if (connection == nullptr) {
        accept_all(listener, epoll, options);
        continue;
      }
      if (serve(*connection, options)) {
        epoll_event wanted_now = interest(*connection, options);
        epoll_ctl(epoll, EPOLL_CTL_MOD, connection->fd, &wanted_now);
        continue;
      }
      close(connection->fd);
      delete connection;
    }
  }
}

void rename_to(const std::string& name) {
  if (!name.empty()) prctl(PR_SET_NAME, name.c_str());
}

void sleep_ms(int milliseconds) {
  usleep(static_cast<useconds_t>(milliseconds) * 1000);
}

void end_after(int milliseconds) {
  if (milliseconds < 0 || fork() != 0) return;
  const pid_t parent = getppid();
  sleep_ms(milliseconds);
  kill(parent, SIGKILL);
  _exit(0);
}

int rebind(const Options& options, const char* address, const char* port) {
  for (int i = 0; i < options.times; ++i) {
    std::array<int, 2> said{};
    if (pipe(said.data()) < 0) return 1;
    const pid_t child = fork();
    if (child == 0) {
      const int listener = listen_on(address, port);
      timespec now{};
      clock_gettime(CLOCK_MONOTONIC, &now);
      std::printf("%lld\n", static_cast<long long>(now.tv_sec) * 1'000'000'000 + now.tv_nsec);
      std::fflush(stdout);
      close(said[1]);
      run(listener, options);
    }
    close(said[1]);
    char nothing = 0;
    while (read(said[0], &nothing, 1) > 0) {  // until it listens
    }
    close(said[0]);
    sleep_ms(options.up_ms);
    kill(child, SIGKILL);
    waitpid(child, nullptr, 0);
    sleep_ms(options.down_ms);
  }
  return 0;
}

}  // namespace

int main(int argc, char** argv) {
  Options options;
  for (int got = 0; (got = getopt(argc, argv, "g:n:N:m:c:t:r:")) != -1;) {
    switch (got) {
      case 'g':
        options.greeting = optarg;
        break;
      case 'n':
        options.name = optarg;
        break;
      case 'N':
        options.later_name = optarg;
        break;
      case 'm':
        options.mode = optarg;
        break;
      case 'c':
        options.mib = std::strtoul(optarg, nullptr, 10);
        break;
      case 't':
        options.lifetime_ms = std::atoi(optarg);
        break;
      case 'r':
        if (std::sscanf(optarg, "%d,%d,%d", &options.times, &options.up_ms, &options.down_ms) != 3)
          return 2;
        break;
      default:
        return 2;
    }
  }
  if (argc - optind != 2) return 2;
  rlimit limit{};
  getrlimit(RLIMIT_NOFILE, &limit);
  limit.rlim_cur = limit.rlim_max;
  setrlimit(RLIMIT_NOFILE, &limit);
  rename_to(options.name);
  if (options.times > 0) return rebind(options, argv[optind], argv[optind + 1]);
  const int listener = listen_on(argv[optind], argv[optind + 1]);
  if (daemon(0, 0) < 0) return 1;
  rename_to(options.later_name);
  end_after(options.lifetime_ms);
  run(listener, options);
}
