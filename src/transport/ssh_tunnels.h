// SPDX-License-Identifier: LGPL-2.1-or-later
//
// Tunnels of ssh: the daemon's end of virt-forward-ssh, which runs the ssh clients and outlives the
// daemon. It is connected to, and started where nobody runs it, when something is ordered; when it
// is lost it is connected to again, and ordered the same.
//
// The guest's server is looked for at its addresses, in their order, then on vsock, port 22.

#pragma once

#include <functional>
#include <map>
#include <memory>
#include <string>

#include "base/fd.h"
#include "transport/tunnel.h"

namespace vf {

class SshTunnels : public TunnelLayer {
 public:
  // Connects to virt-forward-ssh's control socket. `start`: starts it where nobody serves that.
  // Nothing, without an Error, where nobody does and it shall not be started.
  using Connect = std::function<Result<Fd>(bool start)>;

  SshTunnels(Connect connect, Observer& observer);
  ~SshTunnels() override;  // leaves it running
  SshTunnels(const SshTunnels&) = delete;
  SshTunnels& operator=(const SshTunnels&) = delete;

  Transport kind() const override { return Transport::ssh; }
  void order(TunnelOrder order) override;
  void forget(const std::string& uuid) override;
  TunnelEnds ends(const std::string& uuid) const override;

  std::map<TunnelTarget, std::string> refusals(const std::string& uuid) const override;
  // Until then a new daemon leaves alone what virt-forward-ssh holds.
  void settled() override;

  // Asks virt-forward-ssh to end, and all its connections with it.
  void shut_down(std::function<void()> done);

 private:
  class Implementation;
  std::unique_ptr<Implementation> implementation_;
};

}  // namespace vf
