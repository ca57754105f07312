// SPDX-License-Identifier: LGPL-2.1-or-later
//
// Where virt-forward-ssh keeps what it makes.
//
//   SOCKETS/UUID/c          control socket of the guest's master, for nobody else
//   SOCKETS/UUID/80 …       where tunnels begin; their group, the relay's, may connect
//   STATE/known_hosts.d/UUID  the guest's host key
//
// A tunnel's name says where it goes, and a guest's directory whose it is: who holds an old path
// reaches the same target of the same guest or nothing.

#pragma once

#include <string>

#include "base/relay_endpoint.h"
#include "base/result.h"

namespace vf {

class Places {
 public:
  // `sockets` and `state` are absolute and there, and belong to this user. Empties `sockets`: what
  // is in it was left by one that was killed. An Error where paths below would be too long.
  static Result<Places> prepare(const std::string& sockets, const std::string& state);

  std::string directory(const std::string& uuid) const { return sockets_ + '/' + uuid; }
  std::string control(const std::string& uuid) const { return directory(uuid) + "/c"; }
  std::string tunnel(const std::string& uuid, const AgentEndpoint& target) const;
  std::string known_hosts(const std::string& uuid) const;

  // An empty directory for the guest.
  Result<void> make(const std::string& uuid) const;
  // With all that is in it.
  void remove(const std::string& uuid) const;
  // Whether the guest's host key is known.
  bool pinned(const std::string& uuid) const;

 private:
  Places(std::string sockets, std::string state)
      : sockets_(std::move(sockets)), state_(std::move(state)) {}

  std::string sockets_;
  std::string state_;
};

}  // namespace vf
