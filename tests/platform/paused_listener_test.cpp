// SPDX-License-Identifier: LGPL-2.1-or-later
//
// What Linux makes of a listening socket that is told SHUT_RD: it refuses, keeps its port against
// everybody, and listens again when asked.

#include <gtest/gtest.h>

#include <cerrno>

#include "base/listening_socket.h"

namespace vf {
namespace {

int connect_error(const Endpoint& to) {
  const Fd client(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  const SocketAddress address = SocketAddress::from(to.address, to.port);
  return connect(client.get(), address.get(), address.length) == 0 ? 0 : errno;
}

TEST(PausedListener, RefusesKeepsItsPortAndListensAgain) {
  auto listening = listen_tcp(IpAddress::loopback4(), std::nullopt);
  ASSERT_TRUE(std::holds_alternative<Fd>(listening));
  const Fd& listener = std::get<Fd>(listening);
  const Endpoint at = *local_endpoint(listener);
  ASSERT_EQ(connect_error(at), 0);

  pause_listening(listener);
  EXPECT_EQ(connect_error(at), ECONNREFUSED);
  const auto thief = listen_tcp(at.address, at.port);  // with SO_REUSEADDR
  ASSERT_TRUE(std::holds_alternative<ListenFailure>(thief));
  EXPECT_EQ(std::get<ListenFailure>(thief).error_number, EADDRINUSE);

  EXPECT_TRUE(resume_listening(listener));
  EXPECT_EQ(local_endpoint(listener), at);
  EXPECT_EQ(connect_error(at), 0);
}

}  // namespace
}  // namespace vf
