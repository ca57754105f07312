// SPDX-License-Identifier: LGPL-2.1-or-later
//
// Keeps a control stream to the agent of each running guest: opens it, from a source port that only
// a privileged process of this host may have, and hands it on unread; opens another when that one
// is said to be lost. Main thread only.

#pragma once

#include <functional>
#include <map>
#include <memory>
#include <string>

#include "base/fd.h"
#include "base/relay_endpoint.h"
#include "glib/source.h"

namespace vf {

class GuestWatch {
 public:
  struct Observer {
    virtual ~Observer() = default;
    virtual void agent_reached(const std::string& uuid, const RelayEndpoint& agent, Fd control) = 0;
    // Once for each new reason; it is tried again.
    virtual void agent_missed(const std::string& uuid, const std::string& reason) = 0;
  };

  explicit GuestWatch(Observer& observer);
  ~GuestWatch();
  GuestWatch(const GuestWatch&) = delete;
  GuestWatch& operator=(const GuestWatch&) = delete;

  // Begins with a guest, or anew where its agent is elsewhere than before. Never calls back at
  // once.
  void watch(const std::string& uuid, const RelayEndpoint& agent);
  void forget(const std::string& uuid);
  // The stream that was handed on has ended; another is opened after a moment.
  void lost(const std::string& uuid);
  // Nobody has the streams that were handed on any more.
  void lost_all();

 private:
  struct Guest;
  void open(Guest& guest);
  void settle(Guest& guest);
  void again(Guest& guest, int error_number);

  Observer& observer_;
  std::map<std::string, std::unique_ptr<Guest>> guests_;
};

}  // namespace vf
