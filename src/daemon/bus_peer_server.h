// SPDX-License-Identifier: LGPL-2.1-or-later
//
// The private socket: D-Bus without a bus. Main thread only.
//
// Peers authenticate with EXTERNAL and must be of the daemon's own uid. They are answered as much
// of org.freedesktop.DBus as bus clients ask for before they talk to anybody (`busctl --address`,
// `gdbus --address`): every peer sees a bus of two, itself and the daemon.

#pragma once

#include <functional>
#include <memory>
#include <string>

#include "base/result.h"
#include "glib/ref.h"

namespace vf {

class BusPeerServer {
 public:
  struct Handler {
    // A peer has come, and its messages follow; false sends it away.
    std::function<bool(GDBusConnection*)> came;
    std::function<void(GDBusConnection*)> left;
  };
  static constexpr std::size_t default_peers = 64;

  // Listens on `path`, mode 0600; its directory is made when it is missing. A socket file that
  // nobody answers is replaced; a live one is an error. Peers past `most_peers` are sent away.
  static Result<std::unique_ptr<BusPeerServer>> listen(const std::string& path, Handler handler,
                                                       std::size_t most_peers = default_peers);
  // Removes the socket file and closes the peers.
  ~BusPeerServer();
  BusPeerServer(const BusPeerServer&) = delete;
  BusPeerServer& operator=(const BusPeerServer&) = delete;

 private:
  class Implementation;
  explicit BusPeerServer(std::unique_ptr<Implementation> implementation);
  std::unique_ptr<Implementation> implementation_;
};

}  // namespace vf
