// SPDX-License-Identifier: LGPL-2.1-or-later
//
// What a relay gives up once it has started: whoever takes it over by what a guest or a client
// sends finds a process that can serve the sockets it has, make connections and end.
//
// Two halves, because some of it holds for the calling thread and its later ones only, and the
// system calls that start a thread are given up with the rest:
//
//   Confinement confinement;     after everything that opens, binds or changes owner
//   ...                          threads are started
//   confinement.complete(...)    before the first client
//
//   capabilities  none, in no set; nothing to gain by execve() (no_new_privs); not dumpable
//   Landlock      no access to any file, no bind() to a TCP port, no signal to other programs
//   seccomp       the system calls of serving; any other kills the process
//
// A kernel that lacks one of them leaves the others in force.

#pragma once

#include <string>
#include <vector>

#include "base/result.h"

namespace vf {

class Confinement {
 public:
  // `removes`: the socket files that this process removes when it ends, as it made them.
  explicit Confinement(const std::vector<std::string>& removes = {});

  // For all threads that there are. An Error is for people: no seccomp, the rest is in force.
  Result<void> complete();

  // ` seccomp=yes landlock="abi 4" capabilities=none`
  std::string summary() const;

 private:
  bool removes_;
  bool capabilities_ = true;
  int landlock_abi_ = 0;  // 0: not in force
  bool seccomp_ = false;
};

}  // namespace vf
