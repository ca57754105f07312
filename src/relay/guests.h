// SPDX-License-Identifier: LGPL-2.1-or-later
//
// The guests whose agents the relay speaks to. The daemon opens a guest's control stream and passes
// it on; what is read on it comes to the daemon as typed news, no faster than it takes them and no
// faster than a bound for each guest, so that one guest costs neither it nor the others much.
//
// Where the daemon goes, sessions stay for a while: the connections of forwards need their tokens.
// The next daemon opens them anew and is told everything.

#pragma once

#include <glib.h>

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <string>

#include "glib/ref.h"
#include "glib/source.h"
#include "relay/agent_access.h"
#include "relay/agent_reply.h"
#include "relay/guest_session.h"
#include "relay/listener_ledger.h"
#include "wire/relay.h"

namespace vf {

class Guests {
 public:
  // Messages for the daemon of so much of one guest in so much time, once a whole account was told.
  static constexpr std::chrono::milliseconds turn{100};
  static constexpr std::uint32_t told_per_turn = 256;
  static constexpr std::uint32_t first_account = 2 * ListenerLedger::max_listeners;

  class Outlet {
   public:
    virtual ~Outlet() = default;
    // Whether a daemon is there and has taken what was sent before.
    virtual bool takes_news() = 0;
    virtual void tell(RelayPacket packet) = 0;
  };
  using FindAccess = std::function<std::shared_ptr<AgentAccess>(const std::string& guest)>;
  using OnNewLife = std::function<void(const std::string& guest)>;

  // On the thread whose default context it is. `on_new_life`: the agent is another than before.
  Guests(Outlet& outlet, FindAccess find_access, OnNewLife on_new_life);
  ~Guests();

  void open(RelayGuestOpen open);
  void wants(const RelayGuestWants& wants);
  void close(const std::string& guest);
  RelayAgentAnswer take(RelayAgentReply reply);

  // What there is to tell, as far as the outlet takes it now.
  void tell_news();
  // Another daemon has come, which knows nothing.
  void daemon_changed();

  std::size_t size() const { return guests_.size(); }

 private:
  class Guest;

  Guest& guest(const std::string& name);
  void tell(RelayMessage message);

  Outlet& outlet_;
  const FindAccess find_access_;
  const OnNewLife on_new_life_;
  const Ref<GMainContext> context_;
  std::map<std::string, std::unique_ptr<Guest>> guests_;
  std::string last_told_;  // guests take turns
  Source later_;
  Source abandoned_;
};

}  // namespace vf
