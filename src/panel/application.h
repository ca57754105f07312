// SPDX-License-Identifier: LGPL-2.1-or-later
//
// The program: its command line, its windows (one for all machines, one for each --domain).

#pragma once

namespace vf::panel {

int run(int argc, char** argv);

}  // namespace vf::panel
