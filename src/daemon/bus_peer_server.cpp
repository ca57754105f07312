// SPDX-License-Identifier: LGPL-2.1-or-later

#include "daemon/bus_peer_server.h"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>

#include <algorithm>
#include <cstring>
#include <vector>

#include "base/fd.h"
#include "daemon/bus_driver.h"

namespace vf {
namespace {

Unexpected unusable(const std::string& path, int error_number) {
  return Unexpected(system_error(error_number, path));
}

// Takes away what a daemon that is gone has left at `path`. Held by the caller: the lock of the
// directory, so that of two daemons that start at once only one finds a stale file.
Result<void> remove_stale(const std::string& path) {
  struct stat status {};
  if (lstat(path.c_str(), &status) != 0)
    return errno == ENOENT ? Result<void>() : Result<void>(unusable(path, errno));
  if (!S_ISSOCK(status.st_mode))
    return Unexpected(ErrorCode::failed, path + " is in the way and no socket; remove it");
  const Fd probe(socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  path.copy(address.sun_path, sizeof address.sun_path - 1);
  if (!probe) return unusable(path, errno);
  if (connect(probe.get(), reinterpret_cast<sockaddr*>(&address), sizeof address) == 0 ||
      errno != ECONNREFUSED)
    return Unexpected(ErrorCode::failed, "another daemon already serves " + path);
  if (unlink(path.c_str()) != 0 && errno != ENOENT) return unusable(path, errno);
  return {};
}

gboolean only_external(GDBusAuthObserver*, const gchar* mechanism, gpointer) noexcept {
  return g_str_equal(mechanism, "EXTERNAL");
}

// Runs on the thread of this peer's handshake.
gboolean only_own_uid(GDBusAuthObserver*, GIOStream*, GCredentials* credentials,
                      gpointer) noexcept {
  return credentials && g_credentials_get_unix_user(credentials, nullptr) == geteuid();
}

Ref<GDBusAuthObserver> new_observer() {
  auto observer = adopt(g_dbus_auth_observer_new());
  g_signal_connect(observer.get(), "allow-mechanism", G_CALLBACK(only_external), nullptr);
  g_signal_connect(observer.get(), "authorize-authenticated-peer", G_CALLBACK(only_own_uid),
                   nullptr);
  return observer;
}

Result<Ref<GDBusServer>> bind_server(const std::string& path) {
  const GCharPtr directory(g_path_get_dirname(path.c_str()));
  if (g_mkdir_with_parents(directory.get(), 0755) != 0) return unusable(directory.get(), errno);
  const Fd lock(open(directory.get(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!lock || flock(lock.get(), LOCK_EX) != 0) return unusable(directory.get(), errno);
  if (auto removed = remove_stale(path); !removed) return Unexpected(removed.error());

  const GCharPtr escaped(g_dbus_address_escape_value(path.c_str()));
  const GCharPtr guid(g_dbus_generate_guid());
  const auto observer = new_observer();
  GErrorOut error;
  const mode_t before = umask(0177);
  auto server = adopt(g_dbus_server_new_sync((std::string("unix:path=") + escaped.get()).c_str(),
                                             G_DBUS_SERVER_FLAGS_NONE, guid.get(), observer.get(),
                                             nullptr, error.out()));
  umask(before);
  if (!server) return Unexpected(ErrorCode::failed, path + ": " + error.message());
  return server;
}

}  // namespace

class BusPeerServer::Implementation {
 public:
  Implementation(Ref<GDBusServer> server, Handler handler, std::size_t most_peers)
      : server_(std::move(server)), handler_(std::move(handler)), most_peers_(most_peers) {
    g_signal_connect(server_.get(), "new-connection", G_CALLBACK(new_connection), this);
    g_dbus_server_start(server_.get());
  }

  ~Implementation() {
    g_signal_handlers_disconnect_by_data(server_.get(), this);
    g_dbus_server_stop(server_.get());
    while (!peers_.empty()) {
      GDBusConnection* connection = peers_.back().connection.get();
      const Ref<GDBusConnection> closing = peers_.back().connection;
      forget(connection);
      g_dbus_connection_close(connection, nullptr, nullptr, nullptr);
    }
  }

  Implementation(const Implementation&) = delete;
  Implementation& operator=(const Implementation&) = delete;

 private:
  struct Peer {
    Ref<GDBusConnection> connection;
    std::unique_ptr<BusDriver> driver;
  };

  static gboolean new_connection(GDBusServer*, GDBusConnection* connection,
                                 gpointer data) noexcept {
    return static_cast<Implementation*>(data)->welcome(connection);
  }

  static void closed(GDBusConnection* connection, gboolean, GError*, gpointer data) noexcept {
    static_cast<Implementation*>(data)->forget(connection);
  }

  bool welcome(GDBusConnection* connection) {
    if (peers_.size() >= most_peers_) return false;
    auto driver = BusDriver::attach(connection);
    if (!driver || !handler_.came(connection)) return false;
    g_signal_connect(connection, "closed", G_CALLBACK(closed), this);
    peers_.push_back({borrow(connection), std::move(driver)});
    return true;
  }

  void forget(GDBusConnection* connection) {
    const auto found = std::find_if(peers_.begin(), peers_.end(), [&](const Peer& peer) {
      return peer.connection.get() == connection;
    });
    if (found == peers_.end()) return;
    const Peer peer = std::move(*found);
    peers_.erase(found);
    g_signal_handlers_disconnect_by_data(connection, this);
    handler_.left(connection);
  }

  Ref<GDBusServer> server_;
  Handler handler_;
  std::size_t most_peers_;
  std::vector<Peer> peers_;
};

Result<std::unique_ptr<BusPeerServer>> BusPeerServer::listen(const std::string& path,
                                                             Handler handler,
                                                             std::size_t most_peers) {
  if (path.size() >= sizeof(sockaddr_un::sun_path))
    return Unexpected(ErrorCode::invalid_argument, path + " is too long for a socket");
  auto server = bind_server(path);
  if (!server) return Unexpected(server.error());
  return std::unique_ptr<BusPeerServer>(new BusPeerServer(
      std::make_unique<Implementation>(*std::move(server), std::move(handler), most_peers)));
}

BusPeerServer::BusPeerServer(std::unique_ptr<Implementation> implementation)
    : implementation_(std::move(implementation)) {}

BusPeerServer::~BusPeerServer() = default;

}  // namespace vf
