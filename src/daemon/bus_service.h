// SPDX-License-Identifier: LGPL-2.1-or-later
//
// The daemon on D-Bus: xml/org.virtforward1.xml on the system or session bus and on the private
// socket. Main thread only, on the default main context.

#pragma once

#include <memory>
#include <string>

#include "base/result.h"
#include "daemon/model.h"
#include "daemon/runtime_socket.h"

namespace vf {

class BusService {
 public:
  enum class Bus { none, session, system };
  struct Options {
    Bus bus = Bus::none;
    std::string private_socket;  // empty: none
  };

  // Fails when the private socket cannot be had (another daemon serves it, for one). A bus that is
  // not there or goes away is logged and tried again, at most once a minute. Observes `model`;
  // both outlive the service. `listening` is the private socket where it is open already.
  static Result<std::unique_ptr<BusService>> start(const Options& options, Model& model,
                                                   Controller& controller,
                                                   RuntimeSocket listening = {});
  ~BusService();
  BusService(const BusService&) = delete;
  BusService& operator=(const BusService&) = delete;

  // Whether somebody is on the private socket, or something came by a bus since this was asked for
  // the last time.
  bool busy();
  // Who connects to the private socket from now on waits there.
  void stop_accepting();

 private:
  class Implementation;
  explicit BusService(std::unique_ptr<Implementation> implementation);
  std::unique_ptr<Implementation> implementation_;
};

}  // namespace vf
