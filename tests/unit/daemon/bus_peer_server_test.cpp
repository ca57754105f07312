// SPDX-License-Identifier: LGPL-2.1-or-later
//
// Who gets on the private socket, and whose socket file it is.

#include "daemon/bus_peer_server.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>

#include <fstream>

#include "base/fd.h"
#include "bus_lab.h"
#include "glib/object_path.h"

namespace vf {
namespace {

using testing::HasSubstr;

class PeerServer : public testing::Test {
 protected:
  Result<std::unique_ptr<BusPeerServer>> listen(std::size_t most_peers = 4) {
    auto listening = RuntimeSocket::listen(socket);
    if (!listening) return Unexpected(listening.error());
    return std::make_unique<BusPeerServer>(
        *std::move(listening),
        BusPeerServer::Handler{[this](GDBusConnection*) {
                                 ++peers;
                                 return true;
                               },
                               [this](GDBusConnection*) { --peers; }},
        most_peers);
  }

  void leave_stale_socket() {
    const Fd old(::socket(AF_UNIX, SOCK_STREAM, 0));
    sockaddr_un name{};
    name.sun_family = AF_UNIX;
    socket.copy(name.sun_path, sizeof name.sun_path - 1);
    ASSERT_EQ(bind(old.get(), reinterpret_cast<sockaddr*>(&name), sizeof name), 0);
  }

  ScratchDirectory directory;
  std::string socket = directory.path("virt-forward/bus.sock");
  int peers = 0;
};

TEST_F(PeerServer, SocketIsForItsOwnerOnlyAndGoesWithTheServer) {
  const mode_t before = umask(022);
  auto server = listen();
  umask(before);
  ASSERT_TRUE(server) << server.error().message;
  struct stat status {};
  ASSERT_EQ(stat(socket.c_str(), &status), 0);
  EXPECT_EQ(status.st_mode & 07777, 0600u);
  server->reset();
  EXPECT_NE(stat(socket.c_str(), &status), 0);
}

TEST_F(PeerServer, ReplacesAStaleSocket) {
  mkdir(directory.path("virt-forward").c_str(), 0755);
  leave_stale_socket();
  auto server = listen();
  ASSERT_TRUE(server) << server.error().message;
  EXPECT_TRUE(connect_peer(socket));
}

TEST_F(PeerServer, LeavesALiveSocketAndAFileAlone) {
  auto first = listen();
  ASSERT_TRUE(first);
  const auto second = listen();
  ASSERT_FALSE(second);
  EXPECT_THAT(second.error().message, HasSubstr("another daemon"));
  EXPECT_TRUE(connect_peer(socket));
  first->reset();
  std::ofstream(socket) << "mine";
  const auto third = listen();
  ASSERT_FALSE(third);
  EXPECT_THAT(third.error().message, HasSubstr("no socket"));
  EXPECT_TRUE(std::ifstream(socket));
}

TEST_F(PeerServer, ALongPathIsAnError) {
  socket = directory.path(std::string(120, 'x'));
  const auto server = listen();
  ASSERT_FALSE(server);
  EXPECT_EQ(server.error().code, ErrorCode::invalid_argument);
}

TEST_F(PeerServer, AForeignUidIsRefused) {
  ASSERT_EQ(geteuid(), 0u) << "this test becomes another user, so it needs root";
  auto server = listen();
  ASSERT_TRUE(server);
  // Even where the file's mode would let it in.
  ASSERT_EQ(chmod(socket.c_str(), 0666), 0);
  const std::vector<std::string> ask = {"gdbus",         "call",
                                        "--address",     "unix:path=" + socket,
                                        "--dest",        "org.freedesktop.DBus",
                                        "--object-path", "/org/freedesktop/DBus",
                                        "--method",      "org.freedesktop.DBus.GetId"};
  std::vector<std::string> as_nobody = {"setpriv", "--reuid=65534", "--regid=65534",
                                        "--clear-groups"};
  as_nobody.insert(as_nobody.end(), ask.begin(), ask.end());
  const auto foreign = run_program(as_nobody);
  EXPECT_NE(foreign.status, 0);
  EXPECT_EQ(peers, 0) << foreign.out;
  EXPECT_EQ(run_program(ask).status, 0);
}

TEST_F(PeerServer, PeersHaveABound) {
  auto server = listen(2);
  ASSERT_TRUE(server);
  const auto first = connect_peer(socket);
  auto second = connect_peer(socket);
  ASSERT_TRUE(iterate_until([&] { return peers == 2; }));
  const auto third = connect_peer(socket);
  EXPECT_TRUE(iterate_until([&] { return g_dbus_connection_is_closed(third.get()); }));
  EXPECT_EQ(peers, 2);
  g_dbus_connection_close(second.get(), nullptr, nullptr, nullptr);
  EXPECT_TRUE(iterate_until([&] { return peers == 1; }));
  const auto fourth = connect_peer(socket);
  EXPECT_TRUE(iterate_until([&] { return peers == 2; }));
  EXPECT_FALSE(g_dbus_connection_is_closed(first.get()));
}

}  // namespace
}  // namespace vf
