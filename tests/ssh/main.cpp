// SPDX-License-Identifier: LGPL-2.1-or-later

#include <gtest/gtest.h>
#include <sched.h>
#include <signal.h>
#include <sys/mount.h>
#include <sys/stat.h>

#include <cstdio>
#include <fstream>

#include "private_network.h"

namespace {

// sshd wants a directory in /run; and localhost is what it usually is.
bool enter_private_files() {
  if (unshare(CLONE_NEWNS) < 0 || mount("none", "/", nullptr, MS_REC | MS_PRIVATE, "") < 0 ||
      mount("run", "/run", "tmpfs", 0, "mode=755") < 0 || mkdir("/run/sshd", 0755) < 0)
    return false;
  std::ofstream("/run/hosts") << "127.0.0.1 localhost\n::1 localhost\n";
  return mount("/run/hosts", "/etc/hosts", nullptr, MS_BIND, "") == 0;
}

}  // namespace

int main(int argc, char** argv) {
  ::testing::InitGoogleTest(&argc, argv);
  signal(SIGPIPE, SIG_IGN);
  if (!::testing::GTEST_FLAG(list_tests) &&
      (!vf::test::enter_private_network() || !enter_private_files())) {
    std::perror("namespaces");
    return 1;
  }
  return RUN_ALL_TESTS();
}
