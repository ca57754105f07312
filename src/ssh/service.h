// SPDX-License-Identifier: LGPL-2.1-or-later

#pragma once

#include <functional>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "base/fd.h"
#include "base/result.h"
#include "glib/source.h"
#include "ssh/master.h"
#include "ssh/places.h"
#include "wire/ssh.h"

namespace vf {

// The control socket, and the masters that a daemon ordered on it. Serves one daemon: a newer one
// that has said hello replaces the one before. What was ordered stands when the daemon goes.
class SshService final : private Master::Observer {
 public:
  // Of the program: a line for the administrator; and the end, because a daemon asked for it or
  // nothing was to be done for a while.
  using Log = std::function<void(const std::string& line)>;
  using OnEnd = std::function<void()>;

  // `listening` is a SOCK_SEQPACKET socket that listens.
  static Result<std::unique_ptr<SshService>> create(Fd listening, Places places,
                                                    SshSettings settings, Log log, OnEnd on_end);
  ~SshService() override;  // ends all masters

 private:
  class Session;

  SshService(Fd listening, uid_t owner, Places places, SshSettings settings, Log log, OnEnd on_end);
  void accept();
  bool may_control(int socket) const;
  void greeted(Session& session);
  void closed(Session& session, const std::string& reason);
  void order(SshGuest guest);
  void close(const std::string& uuid);
  void close_unnamed();
  void watch_idleness();
  void tell(SshMessage message);

  void state_changed(const SshState& state) override;
  void tunnel_changed(const SshTunnel& tunnel) override { tell(tunnel); }
  void connection_ended(const SshRefused& refused) override { tell(refused); }

  Fd listening_;
  uid_t owner_;  // who made the control socket
  Places places_;
  SshSettings settings_;
  Log log_;
  OnEnd on_end_;
  std::map<std::string, std::unique_ptr<Master>> masters_;
  std::set<std::string> named_;  // by the daemon that is connected
  std::vector<std::unique_ptr<Session>> sessions_;
  Session* daemon_ = nullptr;  // the one that has said hello
  Source accepting_;
  Source idle_;
};

}  // namespace vf
