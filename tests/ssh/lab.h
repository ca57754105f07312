// SPDX-License-Identifier: LGPL-2.1-or-later
//
// A guest that is this network namespace: its sshd listens on loopback, and so do its services.
// virt-forward-ssh runs as a user of its own, as it does on a host.

#pragma once

#include <gtest/gtest.h>
#include <sys/types.h>

#include <map>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "base/fd.h"
#include "loopback.h"
#include "transport/ssh_tunnels.h"

namespace vf::test {

// sshd with all its sessions.
class Sshd {
 public:
  // `directory` has the host's key in `host_key` and authorized keys in "authorized".
  Sshd(const std::string& directory, const std::string& host_key,
       const std::string& address = "127.0.0.1");
  ~Sshd();  // kills it

  static constexpr std::uint16_t port = 2222;
  pid_t pid() const { return pid_; }

 private:
  pid_t pid_;
};

class SshLab : public testing::Test, public SshTunnels::Observer {
 protected:
  SshLab();
  ~SshLab() override;

  static inline const std::string uuid = "d3b2a6f0-0d5e-4c1a-9a55-6b1f0c9d7e01";
  static inline const std::string other_uuid = "d3b2a6f0-0d5e-4c1a-9a55-6b1f0c9d7e02";

  void tunnels_changed(Transport kind, const std::string& uuid) override;

  // A new daemon, in place of the one that there was.
  SshTunnels& daemon();
  SshTunnels& tunnels() { return *tunnels_; }
  // Of the guest, with the key that it knows.
  TunnelOrder order(std::set<TunnelTarget> targets) const;
  static TunnelTarget localhost(const Endpoint& endpoint) { return {{}, {}, endpoint.port, {}}; }

  // Until the tunnel is there; its path.
  std::string laid(const TunnelTarget& target, const std::string& guest = uuid);
  // Until it is not, and the reason has the words.
  bool fails(const TunnelTarget& target, const std::string& words);
  std::string reason(const TunnelTarget& target, const std::string& guest = uuid) const;
  // "" while there is none.
  std::string path(const TunnelTarget& target, const std::string& guest = uuid) const;
  bool refused(const TunnelTarget& target, const std::string& words);

  // Makes a key pair without a passphrase; of the user that virt-forward-ssh runs as.
  std::string make_key(const std::string& name, const std::string& type = "ed25519");
  std::string file(const std::string& name) const { return directory_ + '/' + name; }
  std::string known_hosts() const { return file("state/known_hosts.d/" + uuid); }

  // virt-forward-ssh that serves the control socket; 0: none.
  pid_t program() const;
  // ssh that it runs.
  std::vector<pid_t> masters() const;

  std::string directory_;
  std::string key_;
  std::unique_ptr<Sshd> sshd_;
  std::unique_ptr<SshTunnels> tunnels_;
  int changes_ = 0;
};

Fd unix_client(const std::string& path);
// A client through the tunnel and what it reaches at `listening`.
struct Pair {
  Fd client;
  Fd server;
  bool carries();
};
Pair through(const std::string& path, const Fd& listening);

std::vector<pid_t> children_of(pid_t pid);
bool is_running(pid_t pid);
// Ends programs and waits for them.
bool run(const std::vector<std::string>& arguments);

}  // namespace vf::test
