// SPDX-License-Identifier: LGPL-2.1-or-later
//
// Who may do what on D-Bus. Main thread only.
//
//   peer     everything: the socket lets the daemon's own uid in and nobody else
//   session  callers of the daemon's own uid
//   system   root and the daemon's own uid; others as polkit says; without polkit nobody else
//
// polkit is asked over the connection that the call came by: libpolkit-gobject would hold the
// shared bus connection of the process, which ends the process when the bus ends.

#pragma once

#include <functional>
#include <memory>
#include <string>

#include "base/result.h"
#include "daemon/bus_call.h"

namespace vf {

// The polkit actions of contrib/polkit/org.virtforward1.policy.
enum class BusAction { read, add, remove, change /* add and remove */ };

class BusAuthority {
 public:
  // NotAllowed with what the caller can do about it.
  using Answer = std::function<void(Result<void>)>;

  // Calls back at once where nobody has to be asked, and always exactly once. `call` must be
  // unanswered; it is held until then.
  void check(const std::shared_ptr<BusCall>& call, BusAction action, Answer answer) const;
};

}  // namespace vf
