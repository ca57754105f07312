// SPDX-License-Identifier: LGPL-2.1-or-later

#include <gtest/gtest.h>
#include <signal.h>
#include <sys/resource.h>

#include <cstdio>

#include "private_network.h"

int main(int argc, char** argv) {
  ::testing::InitGoogleTest(&argc, argv);
  signal(SIGPIPE, SIG_IGN);
  rlimit limit{};
  getrlimit(RLIMIT_NOFILE, &limit);
  limit.rlim_cur = limit.rlim_max;
  setrlimit(RLIMIT_NOFILE, &limit);
  if (!::testing::GTEST_FLAG(list_tests) && !vf::test::enter_private_network()) {
    std::perror("network namespace");
    return 1;
  }
  return RUN_ALL_TESTS();
}
