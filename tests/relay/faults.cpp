// SPDX-License-Identifier: LGPL-2.1-or-later
//
// Preloaded into a relay: system calls of the byte path that fail by chance, as a kernel's may.
// VF_FAULTS says which; VF_FAULTS_SEED where chance begins.
//
//   small-buffers  nothing fails, but sockets hold a few kilobytes
//   harmless       interruptions, short reads and writes, nothing there after all, moments without
//                  memory or descriptors, accepted connections that are gone: no byte may be lost
//   harmful        those, and errors that end a connection
//
// Who waits for edges is owed one when a call was short although the kernel would have done more:
// setting SO_RCVLOWAT or SO_SNDBUF makes it tell its readers and writers again.

#include <dlfcn.h>
#include <fcntl.h>
#include <poll.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <cstdarg>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <initializer_list>

namespace {

enum class Kind { none, small_buffers, harmless, harmful };

Kind kind() {
  static const Kind chosen = [] {
    const char* const text = std::getenv("VF_FAULTS");
    if (!text) return Kind::none;
    if (std::strcmp(text, "small-buffers") == 0) return Kind::small_buffers;
    return std::strcmp(text, "harmful") == 0 ? Kind::harmful : Kind::harmless;
  }();
  return chosen;
}

bool faulty() {
  return kind() == Kind::harmless || kind() == Kind::harmful;
}

std::uint64_t random_number() {
  static std::atomic<std::uint64_t> threads{1};
  static thread_local std::uint64_t state = [] {
    const char* const seed = std::getenv("VF_FAULTS_SEED");
    return 0x9e3779b97f4a7c15u * (threads++ + (seed ? std::strtoull(seed, nullptr, 10) : 0));
  }();
  state ^= state << 13;
  state ^= state >> 7;
  state ^= state << 17;
  return state;
}

// One in `n`. Not in the main thread, where a relay starts or does not.
bool chance(std::uint64_t n) {
  return faulty() && gettid() != getpid() && random_number() % n == 0;
}

ssize_t fail(std::initializer_list<int> errors) {
  errno = errors.begin()[random_number() % errors.size()];
  return -1;
}

template <typename Function>
Function* next(const char* name) {
  return reinterpret_cast<Function*>(dlsym(RTLD_NEXT, name));
}
#define NEXT(name) static auto* const real = next<decltype(name)>(#name)

bool is_internet_stream(int fd) {
  int domain = 0;
  int type = 0;
  socklen_t length = sizeof domain;
  return getsockopt(fd, SOL_SOCKET, SO_DOMAIN, &domain, &length) == 0 &&
         (domain == AF_INET || domain == AF_INET6) &&
         getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &length) == 0 && type == SOCK_STREAM;
}

// Asked without receiving, which would take the error of a reset away from the relay.
bool has_data(int fd) {
  int count = 0;
  return ioctl(fd, FIONREAD, &count) == 0 && count > 0;
}

void tell_readers(int fd) {
  const int one = 1;
  setsockopt(fd, SOL_SOCKET, SO_RCVLOWAT, &one, sizeof one);
}

constexpr int send_buffer = 200'000;  // set from the beginning, so that setting it changes nothing

void tell_writers(int fd) {
  pollfd watched{fd, POLLOUT, 0};
  if (poll(&watched, 1, 0) == 0) return;  // asking is enough: it tells when there is room
  setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &send_buffer, sizeof send_buffer);
}

void prepare(int fd) {
  if (!is_internet_stream(fd)) return;
  const int small = 4096;
  if (kind() == Kind::small_buffers) {
    setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &small, sizeof small);
    setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &small, sizeof small);
  } else {
    setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &send_buffer, sizeof send_buffer);
  }
}

template <typename Call>
ssize_t faulty_read(int fd, std::size_t size, Call call) {
  if (chance(20)) return fail({EINTR});
  if (chance(3000)) return fail({ENOMEM, ENOBUFS});
  if (kind() == Kind::harmful && chance(2000)) return fail({ECONNRESET, ETIMEDOUT, EHOSTUNREACH});
  if (!chance(8) || !has_data(fd)) return call(size);
  if (chance(2)) {
    tell_readers(fd);
    return fail({EAGAIN});
  }
  const ssize_t count = call(1 + random_number() % size);
  tell_readers(fd);
  return count;
}

template <typename Call>
ssize_t faulty_write(int fd, std::size_t size, Call call) {
  if (chance(20)) return fail({EINTR});
  if (chance(3000)) return fail({ENOMEM, ENOBUFS});
  if (kind() == Kind::harmful && chance(2000)) return fail({ECONNRESET, EPIPE, ETIMEDOUT});
  if (!chance(8)) return call(size);
  if (chance(2)) {
    tell_writers(fd);
    return fail({EAGAIN});
  }
  const ssize_t count = call(1 + random_number() % size);
  tell_writers(fd);
  return count;
}

}  // namespace

extern "C" {

__attribute__((visibility("default"))) ssize_t recv(int fd, void* bytes, size_t size, int flags) {
  NEXT(recv);
  if (!faulty() || !is_internet_stream(fd)) return real(fd, bytes, size, flags);
  return faulty_read(fd, size, [&](size_t part) { return real(fd, bytes, part, flags); });
}

__attribute__((visibility("default"))) ssize_t __recv_chk(int fd, void* bytes, size_t size, size_t,
                                                          int flags) {
  return recv(fd, bytes, size, flags);
}

__attribute__((visibility("default"))) ssize_t send(int fd, const void* bytes, size_t size,
                                                    int flags) {
  NEXT(send);
  if (!faulty() || !is_internet_stream(fd)) return real(fd, bytes, size, flags);
  return faulty_write(fd, size, [&](size_t part) { return real(fd, bytes, part, flags); });
}

__attribute__((visibility("default"))) ssize_t splice(int from, off64_t* from_at, int to,
                                                      off64_t* to_at, size_t size, unsigned flags) {
  NEXT(splice);
  const auto call = [&](size_t part) { return real(from, from_at, to, to_at, part, flags); };
  if (!faulty()) return call(size);
  if (is_internet_stream(to)) return faulty_write(to, size, call);
  // A short read into a pipe says nothing of the socket, so no edge is owed.
  if (chance(4)) return call(1 + random_number() % size);
  return faulty_read(from, size, call);
}

__attribute__((visibility("default"))) int accept4(int fd, sockaddr* address, socklen_t* length,
                                                   int flags) {
  NEXT(accept4);
  if (is_internet_stream(fd)) {
    if (chance(10)) return static_cast<int>(fail({EINTR, ECONNABORTED, EPROTO, EPERM}));
    if (chance(100)) return static_cast<int>(fail({EMFILE, ENFILE, ENOBUFS, ENOMEM}));
  }
  const int accepted = real(fd, address, length, flags);
  if (accepted >= 0) prepare(accepted);
  return accepted;
}

__attribute__((visibility("default"))) int socket(int domain, int type, int protocol) {
  NEXT(socket);
  static std::atomic<int> made_before{0};
  const bool to_connect = (domain == AF_INET || domain == AF_INET6) && made_before++ >= 16;
  if (to_connect && kind() == Kind::harmful && chance(50))
    return static_cast<int>(fail({EMFILE, ENFILE, ENOBUFS, ENOMEM}));
  const int made = real(domain, type, protocol);
  if (made >= 0) prepare(made);
  return made;
}

__attribute__((visibility("default"))) int connect(int fd, const sockaddr* address,
                                                   socklen_t length) {
  NEXT(connect);
  if (kind() == Kind::harmful && is_internet_stream(fd) && chance(50))
    return static_cast<int>(fail({EADDRNOTAVAIL, ENETUNREACH, ENOBUFS}));
  return real(fd, address, length);
}

__attribute__((visibility("default"))) int pipe2(int* ends, int flags) {
  NEXT(pipe2);
  if (chance(4)) return static_cast<int>(fail({EMFILE, ENFILE, ENOMEM}));
  return real(ends, flags);
}

__attribute__((visibility("default"))) int epoll_ctl(int epoll, int operation, int fd,
                                                     epoll_event* event) {
  NEXT(epoll_ctl);
  if (operation == EPOLL_CTL_ADD && kind() == Kind::harmful && chance(100) &&
      is_internet_stream(fd))
    return static_cast<int>(fail({ENOSPC, ENOMEM}));
  return real(epoll, operation, fd, event);
}

__attribute__((visibility("default"))) int epoll_wait(int epoll, epoll_event* events, int count,
                                                      int timeout) {
  NEXT(epoll_wait);
  if (chance(50)) return static_cast<int>(fail({EINTR}));
  return real(epoll, events, count, timeout);
}

__attribute__((visibility("default"))) int fcntl(int fd, int command, ...) {
  static auto* const real = next<int(int, int, ...)>("fcntl");
  va_list arguments;
  va_start(arguments, command);
  void* const argument = va_arg(arguments, void*);
  va_end(arguments);
  if (command == F_SETPIPE_SZ && chance(4)) return static_cast<int>(fail({EPERM, EBUSY, ENOMEM}));
  return real(fd, command, argument);
}

}  // extern "C"
