// SPDX-License-Identifier: LGPL-2.1-or-later

#include "daemon/bus_peer_server.h"

#include <sys/socket.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <vector>

#include "daemon/bus_driver.h"
#include "glib/source.h"

namespace vf {
namespace {

constexpr std::chrono::seconds greeting_time{10};
constexpr std::chrono::milliseconds shortage_pause{100};

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

}  // namespace

class BusPeerServer::Implementation {
 public:
  Implementation(RuntimeSocket socket, Handler handler, std::size_t most_peers)
      : listener_(std::move(socket)), handler_(std::move(handler)), most_peers_(most_peers) {
    resume();
  }

  ~Implementation() {
    for (const auto& guest : guests_)
      guest->leave();
    while (!peers_.empty()) {
      GDBusConnection* connection = peers_.back().connection.get();
      const Ref<GDBusConnection> closing = peers_.back().connection;
      forget(connection);
      g_dbus_connection_close(connection, nullptr, nullptr, nullptr);
    }
  }

  bool busy() const { return !peers_.empty() || !guests_.empty() || listener_.waited_at(); }

  void stop_accepting() {
    stopped_ = true;
    accepting_.reset();
  }

  Implementation(const Implementation&) = delete;
  Implementation& operator=(const Implementation&) = delete;

 private:
  struct Peer {
    Ref<GDBusConnection> connection;
    std::unique_ptr<BusDriver> driver;
  };

  // Who has connected and is still to say who it is: a thread of GLib's pool listens to it, for a
  // time with an end. It outlives the server where that goes first.
  struct Guest {
    Implementation* server;
    Ref<GCancellable> cancellable = adopt(g_cancellable_new());
    Source late = {};

    void leave() {
      server = nullptr;
      late.reset();
      g_cancellable_cancel(cancellable.get());
    }
  };
  using GuestPtr = std::shared_ptr<Guest>;

  void resume() {
    if (stopped_) return;
    accepting_ = watch_fd(listener_.fd(), G_IO_IN, [this](GIOCondition) { accept_one(); });
  }

  void accept_one() {
    Fd socket(accept4(listener_.fd(), nullptr, nullptr, SOCK_NONBLOCK | SOCK_CLOEXEC));
    if (!socket) {
      if (errno == EINTR || errno == ECONNABORTED || errno == EAGAIN) return;
      // No descriptor or no memory: the listener stays readable, so look away for a while.
      accepting_ = after(shortage_pause, [this] { resume(); });
      return;
    }
    if (guests_.size() >= most_peers_) return;
    GErrorOut error;
    const auto wrapped = adopt(g_socket_new_from_fd(socket.get(), error.out()));
    if (!wrapped) return;
    [[maybe_unused]] const int owned_by_wrapped = socket.release();
    const auto stream = adopt(g_socket_connection_factory_create_connection(wrapped.get()));

    const auto guest = std::make_shared<Guest>(Guest{this});
    guest->late = after(greeting_time, [cancellable = guest->cancellable] {
      g_cancellable_cancel(cancellable.get());
    });
    guests_.push_back(guest);
    const GCharPtr guid(g_dbus_generate_guid());
    constexpr int flags = G_DBUS_CONNECTION_FLAGS_AUTHENTICATION_SERVER |
                          G_DBUS_CONNECTION_FLAGS_DELAY_MESSAGE_PROCESSING;
    const auto observer = new_observer();
    g_dbus_connection_new(G_IO_STREAM(stream.get()), guid.get(),
                          static_cast<GDBusConnectionFlags>(flags), observer.get(),
                          guest->cancellable.get(), greeted, new GuestPtr(guest));
  }

  static void greeted(GObject*, GAsyncResult* result, gpointer data) noexcept {
    const std::unique_ptr<GuestPtr> guest(static_cast<GuestPtr*>(data));
    GErrorOut error;
    const auto connection = adopt(g_dbus_connection_new_finish(result, error.out()));
    Implementation* const server = (*guest)->server;
    if (!server) {
      if (connection) g_dbus_connection_close(connection.get(), nullptr, nullptr, nullptr);
      return;
    }
    std::erase(server->guests_, *guest);
    if (!connection) return;
    if (server->welcome(connection.get()))
      g_dbus_connection_start_message_processing(connection.get());
    else
      g_dbus_connection_close(connection.get(), nullptr, nullptr, nullptr);
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

  RuntimeSocket listener_;
  Handler handler_;
  std::size_t most_peers_;
  bool stopped_ = false;
  std::vector<GuestPtr> guests_;
  std::vector<Peer> peers_;
  Source accepting_;
};

BusPeerServer::BusPeerServer(RuntimeSocket socket, Handler handler, std::size_t most_peers)
    : implementation_(
          std::make_unique<Implementation>(std::move(socket), std::move(handler), most_peers)) {}

BusPeerServer::~BusPeerServer() = default;

bool BusPeerServer::busy() const {
  return implementation_->busy();
}

void BusPeerServer::stop_accepting() {
  implementation_->stop_accepting();
}

}  // namespace vf
