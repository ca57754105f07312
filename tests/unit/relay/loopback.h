// SPDX-License-Identifier: LGPL-2.1-or-later
//
// TCP sockets on 127.0.0.1 for tests, blocking with a deadline: a call that would hang fails.

#pragma once

#include <arpa/inet.h>
#include <glib.h>
#include <gtest/gtest.h>
#include <poll.h>
#include <sys/socket.h>

#include <cerrno>
#include <chrono>
#include <cstdint>
#include <functional>
#include <string>
#include <string_view>

#include "base/address.h"
#include "base/fd.h"
#include "glib/source.h"

namespace vf::test {

inline constexpr int deadline_seconds = 30;

inline void set_deadline(int fd) {
  const timeval deadline{deadline_seconds, 0};
  setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &deadline, sizeof deadline);
  setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &deadline, sizeof deadline);
}

inline Endpoint local_endpoint(int fd) {
  SocketAddress address;
  address.length = sizeof address.storage;
  EXPECT_EQ(getsockname(fd, address.get(), &address.length), 0);
  return *address.endpoint();
}

inline Fd bound_socket() {
  Fd fd(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  const int yes = 1;
  setsockopt(fd.get(), SOL_SOCKET, SO_REUSEADDR, &yes, sizeof yes);
  const auto address = SocketAddress::from(IpAddress::loopback4(), std::nullopt);
  EXPECT_EQ(bind(fd.get(), address.get(), address.length), 0);
  set_deadline(fd.get());
  return fd;
}

inline Fd listening_socket(int backlog = 128) {
  Fd fd = bound_socket();
  EXPECT_EQ(listen(fd.get(), backlog), 0);
  return fd;
}

// Empty, and errno, when refused.
inline Fd connected_socket(const Endpoint& to) {
  Fd fd(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  set_deadline(fd.get());
  const auto address = SocketAddress::from(to.address, to.port);
  if (connect(fd.get(), address.get(), address.length) < 0) return Fd();
  return fd;
}

inline Fd accepted_socket(const Fd& listening) {
  Fd fd(accept4(listening.get(), nullptr, nullptr, SOCK_CLOEXEC));
  EXPECT_TRUE(fd) << "accept: " << strerror(errno);
  if (fd) set_deadline(fd.get());
  return fd;
}

inline bool send_all(const Fd& fd, std::string_view data) {
  while (!data.empty()) {
    const ssize_t sent = send(fd.get(), data.data(), data.size(), MSG_NOSIGNAL);
    if (sent <= 0) return false;
    data.remove_prefix(static_cast<std::size_t>(sent));
  }
  return true;
}

// Exactly `length` bytes, or what came before the end or an error.
inline std::string receive(const Fd& fd, std::size_t length) {
  std::string data(length, '\0');
  std::size_t got = 0;
  while (got < length) {
    const ssize_t count = recv(fd.get(), data.data() + got, length - got, 0);
    if (count <= 0) break;
    got += static_cast<std::size_t>(count);
  }
  data.resize(got);
  return data;
}

// How a connection ended: 0 for an orderly end, else errno of the read; -1 for unexpected data.
inline int ending(const Fd& fd) {
  char byte;
  const ssize_t count = recv(fd.get(), &byte, 1, 0);
  return count == 0 ? 0 : count < 0 ? errno : -1;
}

// Of a connection to it. Its reset may be there before connect() returns, which says so then.
inline int ending_at(const Endpoint& to) {
  const Fd fd = connected_socket(to);
  return fd ? ending(fd) : errno;
}

inline void reset(Fd fd) {
  const linger now{1, 0};
  setsockopt(fd.get(), SOL_SOCKET, SO_LINGER, &now, sizeof now);
}

// Runs the thread's default main context until it holds; false after the deadline.
inline bool run_until(const std::function<bool()>& holds) {
  const gint64 deadline = g_get_monotonic_time() + deadline_seconds * G_USEC_PER_SEC;
  const Source tick = every(std::chrono::milliseconds(2), [] {});
  while (!holds()) {
    if (g_get_monotonic_time() > deadline) return false;
    g_main_context_iteration(nullptr, TRUE);
  }
  return true;
}

}  // namespace vf::test
