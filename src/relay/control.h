// SPDX-License-Identifier: LGPL-2.1-or-later

#pragma once

#include <unistd.h>

#include <chrono>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "base/fd.h"
#include "base/result.h"
#include "glib/source.h"
#include "relay/context.h"
#include "relay/crew.h"
#include "relay/guests.h"

namespace vf {

// The relay's end of the control socket. Serves one daemon: a newer one that has said hello
// replaces the one before. What a daemon staged goes with its connection; what it committed stays.
// A relay that takes over gets everything (succession.h).
class ControlServer final : public RelayEvents, private Guests::Outlet {
 public:
  // `listening` is a SOCK_SEQPACKET socket that listens; `version` is what the hello says.
  // `on_shut_down` comes when a daemon asks the relay to end, when it has retired and nothing is
  // left, and when for `lonely_time` nobody was connected and there was nothing to serve: the next
  // daemon starts a relay, or its service manager does.
  static Result<std::unique_ptr<ControlServer>> create(Fd listening, GMainContext* context,
                                                       std::chrono::seconds lonely_time,
                                                       std::function<void()> on_shut_down);
  ~ControlServer() override;

  // Begins to accept. Stopped before `crew` goes.
  void serve(Crew& crew);
  void stop();
  // False where that many are kept already.
  bool keep(const std::string& name, Fd fd);

  // True when another relay has taken over.
  bool retired() const { return retired_; }

  void proven(const std::string& key, std::size_t endpoint) override;
  void failing(const std::string& key, int error_number) override;

 private:
  class Session;

  ControlServer(Fd listening, uid_t owner, GMainContext* context, std::chrono::seconds lonely_time,
                std::function<void()> on_shut_down);
  void accept();
  bool may_control(int socket) const;
  void greeted(Session& session);
  void closed(Session& session, const std::string& reason);
  void tell(RelayMessage event);
  bool takes_news() override;
  void tell(RelayPacket packet) override;
  void listen();
  void watch_loneliness();
  Result<Fd> hand_over(Session& successor);
  void retire();

  Fd listening_;
  uid_t owner_;  // who made the control socket
  const uid_t own_ = geteuid();
  GMainContext* context_;
  std::chrono::seconds lonely_time_;
  std::function<void()> on_shut_down_;
  Crew* crew_ = nullptr;
  std::map<std::string, Fd> kept_;  // for the daemons to come
  std::unique_ptr<Guests> guests_;  // from serve() to stop() or until another relay takes over
  Source accepting_;
  std::vector<std::unique_ptr<Session>> sessions_;
  Session* daemon_ = nullptr;     // the one that has said hello
  Session* successor_ = nullptr;  // the one that takes over
  bool retired_ = false;
  Source draining_;
  Source lonely_;  // as long as nobody is connected
};

}  // namespace vf
