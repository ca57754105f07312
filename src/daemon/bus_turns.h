// SPDX-License-Identifier: LGPL-2.1-or-later
//
// Calls wait for their turn here: in each turn of the main loop one call of each caller is handled,
// in the order of its calls. Who asks over and over waits for itself, and others wait for one of
// its calls at most. Main thread only.

#pragma once

#include <cstddef>
#include <deque>
#include <functional>
#include <map>
#include <string>
#include <utility>

#include "glib/ref.h"
#include "glib/source.h"

namespace vf {

class BusTurns {
 public:
  // A sender on a connection; on a peer's there is only one, without a name.
  using Caller = std::pair<GDBusConnection*, std::string>;

  explicit BusTurns(std::size_t most_of_one) : most_of_one_(most_of_one) {}

  // False, and nothing will be handled, where too many calls of that caller wait already.
  bool add(const Caller& caller, std::function<void()> handle);
  // Drops what waits of it.
  void forget(GDBusConnection* connection);

 private:
  void turn();

  std::size_t most_of_one_;
  std::map<Caller, std::deque<std::function<void()>>> waiting_;
  Source next_;
};

}  // namespace vf
