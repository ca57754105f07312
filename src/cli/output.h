// SPDX-License-Identifier: LGPL-2.1-or-later
//
// What the program says: results on stdout, everything for people on stderr, one line each that
// begins with the program's name. Text of others is made printable here, and only here.

#pragma once

#include <string>
#include <string_view>

#include "base/error.h"

namespace vf {

// As it is, buffered. The caller has made names printable.
void print(std::string_view text);
// Out to the reader now. False when there is no reader or no room any more.
bool flush();

// "virt-forward: TEXT" for each line of it.
void say(std::string_view text);
// Says the error; its exit status.
int fail(const Error& error);
// The exit status of the program: `status`, unless what was printed could not be written. A reader
// that went away early has what it wanted.
int finish(int status);

// Whether stdout is a terminal that shows colour, by --color, NO_COLOR and TERM.
bool color_wanted(std::string_view when);
bool stdout_is_terminal();

// "name" in quotes, printable.
std::string quote(std::string_view name);

}  // namespace vf
