// SPDX-License-Identifier: LGPL-2.1-or-later

#include "daemon/bus_service.h"

#include <atomic>

#include "daemon/bus_connection.h"
#include "daemon/bus_objects.h"
#include "daemon/bus_peer_server.h"
#include "daemon/journal.h"

namespace vf {

class BusService::Implementation {
 public:
  Implementation(Model& model, Controller& controller) : objects_(model, controller) {}

  void listen(RuntimeSocket socket) {
    peers_ = std::make_unique<BusPeerServer>(
        std::move(socket),
        BusPeerServer::Handler{[this](GDBusConnection* peer) { return came(peer, BusKind::peer); },
                               [this](GDBusConnection* peer) { objects_.detach(peer); }});
  }

  void join(Bus bus) {
    const bool system = bus == Bus::system;
    const BusKind kind = system ? BusKind::system : BusKind::session;
    bus_ = std::make_unique<BusConnection>(
        system ? G_BUS_TYPE_SYSTEM : G_BUS_TYPE_SESSION,
        BusConnection::Handler{
            [this, kind](GDBusConnection* bus_connection) {
              g_dbus_connection_add_filter(bus_connection, note_call,
                                           new std::shared_ptr<std::atomic<bool>>(called_), forget);
              return came(bus_connection, kind);
            },
            [this](GDBusConnection* bus_connection) { objects_.detach(bus_connection); }});
  }

  bool busy() {
    const bool called = called_->exchange(false);
    return called || (peers_ && peers_->busy());
  }

  void stop_accepting() {
    if (peers_) peers_->stop_accepting();
  }

 private:
  // On the thread of the connection.
  static GDBusMessage* note_call(GDBusConnection*, GDBusMessage* message, gboolean incoming,
                                 gpointer called) noexcept {
    if (incoming && g_dbus_message_get_message_type(message) == G_DBUS_MESSAGE_TYPE_METHOD_CALL)
      (*static_cast<std::shared_ptr<std::atomic<bool>>*>(called))->store(true);
    return message;
  }
  static void forget(gpointer called) noexcept {
    delete static_cast<std::shared_ptr<std::atomic<bool>>*>(called);
  }

  bool came(GDBusConnection* connection, BusKind kind) {
    const auto attached = objects_.attach(connection, kind);
    if (!attached) log(LogLevel::error, attached.error().message);
    return attached.has_value();
  }

  BusObjects objects_;
  // Since it was asked for; the filters of connections share it.
  std::shared_ptr<std::atomic<bool>> called_ = std::make_shared<std::atomic<bool>>(false);
  std::unique_ptr<BusPeerServer> peers_;
  std::unique_ptr<BusConnection> bus_;
};

Result<std::unique_ptr<BusService>> BusService::start(const Options& options, Model& model,
                                                      Controller& controller,
                                                      RuntimeSocket listening) {
  if (!listening && !options.private_socket.empty()) {
    auto socket = RuntimeSocket::listen(options.private_socket);
    if (!socket) return Unexpected(socket.error());
    listening = *std::move(socket);
  }
  auto implementation = std::make_unique<Implementation>(model, controller);
  if (listening) implementation->listen(std::move(listening));
  if (options.bus != Bus::none) implementation->join(options.bus);
  return std::unique_ptr<BusService>(new BusService(std::move(implementation)));
}

BusService::BusService(std::unique_ptr<Implementation> implementation)
    : implementation_(std::move(implementation)) {}

BusService::~BusService() = default;

bool BusService::busy() {
  return implementation_->busy();
}

void BusService::stop_accepting() {
  implementation_->stop_accepting();
}

}  // namespace vf
