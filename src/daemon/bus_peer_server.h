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

#include "daemon/runtime_socket.h"
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

  // GDBusServer would do the same, but takes no socket that listens already. Peers past
  // `most_peers` are sent away.
  BusPeerServer(RuntimeSocket socket, Handler handler, std::size_t most_peers = default_peers);
  // Closes the peers, and the socket.
  ~BusPeerServer();
  BusPeerServer(const BusPeerServer&) = delete;
  BusPeerServer& operator=(const BusPeerServer&) = delete;

  // Whether there is a peer, or somebody who would be one.
  bool busy() const;
  // Who connects from now on waits in the socket.
  void stop_accepting();

 private:
  class Implementation;
  std::unique_ptr<Implementation> implementation_;
};

}  // namespace vf
