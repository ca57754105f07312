// SPDX-License-Identifier: LGPL-2.1-or-later
//
// virt-forward-panel: forwards of running machines in a window.

#include "panel/application.h"

int main(int argc, char** argv) {
  return vf::panel::run(argc, argv);
}
