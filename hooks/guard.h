// SPDX-License-Identifier: LGPL-2.1-or-later
//
// What keeps a hook from doing harm. libvirt takes every end but exit status 0 for a failure, and a
// failure at `reconnect` kills the running machine: so whatever happens to the process (a signal, a
// crash, no memory, a limit, time) ends it with a status that was chosen before.

#pragma once

#include <chrono>
#include <string_view>

#include "hooks/deadline.h"

namespace vf {

// First thing in main(). Fills gaps in descriptors 0 to 2, gives standard output away, unblocks and
// takes over all signals, and sets a timer that ends the process after `budget`.
void install_guard(std::chrono::milliseconds budget);

// From here on a run that is cut short is a refusal: status 1 and a message, instead of status 0.
void refuse_when_cut_short();

// One line to standard error, if that takes it before the deadline.
void complain(std::string_view line, const Deadline& deadline);

}  // namespace vf
