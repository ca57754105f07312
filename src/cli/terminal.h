// SPDX-License-Identifier: LGPL-2.1-or-later

#pragma once

namespace vf {

// Whether terminfo knows the terminal of standard output and how its cursor is placed.
bool terminal_places_a_cursor();

}  // namespace vf
