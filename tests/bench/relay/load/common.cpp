// SPDX-License-Identifier: LGPL-2.1-or-later

#include "common.h"

#include <fcntl.h>
#include <netinet/tcp.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/time.h>

#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <cstring>

namespace vf::load {
namespace {

in_addr named{htonl(INADDR_LOOPBACK)};

void set(const Fd& socket, int level, int option, int value) {
  if (setsockopt(socket.get(), level, option, &value, sizeof value) < 0) die("setsockopt");
}

}  // namespace

void die(const std::string& what) {
  std::fprintf(stderr, "relay_load: %s: %s\n", what.c_str(), std::strerror(errno));
  std::exit(1);
}

void name_address(in_addr address) {
  named = address;
}

sockaddr_in named_address(std::uint16_t port) {
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr = named;
  address.sin_port = htons(port);
  return address;
}

Counters& map_counters(const std::string& path) {
  const Fd file(open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600));
  if (!file || ftruncate(file.get(), sizeof(Counters)) < 0) die(path);
  void* const memory =
      mmap(nullptr, sizeof(Counters), PROT_READ | PROT_WRITE, MAP_SHARED, file.get(), 0);
  if (memory == MAP_FAILED) die("mmap");
  return *static_cast<Counters*>(memory);
}

Fd listen_tcp(std::uint16_t port) {
  Fd socket(::socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
  if (!socket) die("socket");
  set(socket, SOL_SOCKET, SO_REUSEADDR, 1);
  const sockaddr_in address = named_address(port);
  if (bind(socket.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) < 0 ||
      listen(socket.get(), 4096) < 0)
    die("listen on " + std::to_string(port));
  return socket;
}

Fd connect_tcp(std::uint16_t port) {
  Fd socket(::socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
  if (!socket) die("socket");
  set(socket, IPPROTO_TCP, TCP_NODELAY, 1);
  const sockaddr_in address = named_address(port);
  if (connect(socket.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) < 0 &&
      errno != EINPROGRESS)
    die("connect to " + std::to_string(port));
  return socket;
}

void make_blocking(const Fd& socket) {
  const timeval deadline{5, 0};
  if (fcntl(socket.get(), F_SETFL, 0) < 0 ||
      setsockopt(socket.get(), SOL_SOCKET, SO_RCVTIMEO, &deadline, sizeof deadline) < 0 ||
      setsockopt(socket.get(), SOL_SOCKET, SO_SNDTIMEO, &deadline, sizeof deadline) < 0)
    die("make_blocking");
}

void send_all(const Fd& socket, const void* data, std::size_t length) {
  const char* next = static_cast<const char*>(data);
  while (length > 0) {
    const ssize_t sent = send(socket.get(), next, length, MSG_NOSIGNAL);
    if (sent <= 0) die("send");
    next += sent;
    length -= static_cast<std::size_t>(sent);
  }
}

void reset_on_close(const Fd& socket) {
  const linger now{1, 0};
  if (setsockopt(socket.get(), SOL_SOCKET, SO_LINGER, &now, sizeof now) < 0) die("SO_LINGER");
}

Fd new_epoll() {
  Fd epoll(epoll_create1(EPOLL_CLOEXEC));
  if (!epoll) die("epoll_create1");
  return epoll;
}

void watch(const Fd& epoll, const Fd& socket, std::uint32_t events, void* owner) {
  epoll_event event{};
  event.events = events;
  event.data.ptr = owner;
  if (epoll_ctl(epoll.get(), EPOLL_CTL_ADD, socket.get(), &event) < 0) die("epoll_ctl");
}

void raise_descriptor_limit() {
  rlimit limit{};
  if (getrlimit(RLIMIT_NOFILE, &limit) < 0) die("getrlimit");
  limit.rlim_cur = limit.rlim_max;
  if (setrlimit(RLIMIT_NOFILE, &limit) < 0) die("setrlimit");
}

}  // namespace vf::load
