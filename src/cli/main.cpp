// SPDX-License-Identifier: LGPL-2.1-or-later

#include <clocale>
#include <csignal>

#include "cli/output.h"
#include "cli/verb.h"

int main(int argc, char** argv) {
  std::setlocale(LC_ALL, "");
  std::signal(SIGPIPE, SIG_IGN);
  return vf::finish(vf::run_command_line({argv + (argc > 0 ? 1 : 0), argv + argc}));
}
