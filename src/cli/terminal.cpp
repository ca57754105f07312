// SPDX-License-Identifier: LGPL-2.1-or-later

#include "cli/terminal.h"

#include <unistd.h>

// Behind all others: it defines macros of everyday names, which is why this file is one by itself.
#include <curses.h>
#include <term.h>

namespace vf {

bool terminal_places_a_cursor() {
  int known = 0;
  if (setupterm(nullptr, STDOUT_FILENO, &known) != OK || known != 1) return false;
  char name[] = "cup";
  const char* const cup = tigetstr(name);
  const bool places = cup && cup != reinterpret_cast<const char*>(-1);
  del_curterm(cur_term);
  return places;
}

}  // namespace vf
