// SPDX-License-Identifier: LGPL-2.1-or-later

#include "daemon/bus_service.h"

#include "daemon/bus_connection.h"
#include "daemon/bus_objects.h"
#include "daemon/bus_peer_server.h"
#include "daemon/journal.h"

namespace vf {

class BusService::Implementation {
 public:
  Implementation(Model& model, Controller& controller) : objects_(model, controller) {}

  Result<void> listen(const std::string& path) {
    auto server = BusPeerServer::listen(
        path, {[this](GDBusConnection* peer) { return came(peer, BusKind::peer); },
               [this](GDBusConnection* peer) { objects_.detach(peer); }});
    if (!server) return Unexpected(server.error());
    peers_ = *std::move(server);
    return {};
  }

  void join(Bus bus) {
    const bool system = bus == Bus::system;
    const BusKind kind = system ? BusKind::system : BusKind::session;
    bus_ = std::make_unique<BusConnection>(
        system ? G_BUS_TYPE_SYSTEM : G_BUS_TYPE_SESSION,
        BusConnection::Handler{
            [this, kind](GDBusConnection* bus_connection) { return came(bus_connection, kind); },
            [this](GDBusConnection* bus_connection) { objects_.detach(bus_connection); }});
  }

 private:
  bool came(GDBusConnection* connection, BusKind kind) {
    const auto attached = objects_.attach(connection, kind);
    if (!attached) log(LogLevel::error, attached.error().message);
    return attached.has_value();
  }

  BusObjects objects_;
  std::unique_ptr<BusPeerServer> peers_;
  std::unique_ptr<BusConnection> bus_;
};

Result<std::unique_ptr<BusService>> BusService::start(const Options& options, Model& model,
                                                      Controller& controller) {
  auto implementation = std::make_unique<Implementation>(model, controller);
  if (!options.private_socket.empty()) {
    auto listening = implementation->listen(options.private_socket);
    if (!listening) return Unexpected(listening.error());
  }
  if (options.bus != Bus::none) implementation->join(options.bus);
  return std::unique_ptr<BusService>(new BusService(std::move(implementation)));
}

BusService::BusService(std::unique_ptr<Implementation> implementation)
    : implementation_(std::move(implementation)) {}

BusService::~BusService() = default;

}  // namespace vf
