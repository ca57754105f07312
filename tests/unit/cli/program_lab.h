// SPDX-License-Identifier: LGPL-2.1-or-later
//
// The real program against the real D-Bus service, which runs in the test's own process on a model
// that the test fills.

#pragma once

#include <gtest/gtest.h>

#include <memory>
#include <string>
#include <vector>

#include "bus_fake.h"
#include "bus_lab.h"

namespace vf {

class ProgramLab : public testing::Test {
 protected:
  // A daemon on a private socket.
  struct Served {
    explicit Served(const std::string& path);
    FakeModel model;
    FakeController controller;
    std::unique_ptr<BusService> service;
    std::string address;
  };

  ProgramLab();

  // virt-forward with --address of the daemon, an empty environment but for `environment`.
  ProgramResult run(const std::vector<std::string>& arguments,
                    const std::vector<std::string>& environment = {});
  // The same without --address: it searches for daemons in `directory_`.
  ProgramResult run_searching(const std::vector<std::string>& arguments,
                              const std::vector<std::string>& environment = {});
  std::vector<std::string> command(const std::vector<std::string>& arguments,
                                   const std::vector<std::string>& environment = {});

  ScratchDirectory directory_;
  Served daemon_;
};

// A program that runs beside the test, its lines as they come.
class RunningProgram {
 public:
  explicit RunningProgram(const std::vector<std::string>& command);
  ~RunningProgram();
  RunningProgram(const RunningProgram&) = delete;
  RunningProgram& operator=(const RunningProgram&) = delete;

  // The next line of its stdout, without the end; "(end)" at the end, "(nothing)" after ten
  // seconds.
  std::string line();
  void interrupt();
  void stop_reading();
  // Its exit status, or -1 when it does not end or was killed.
  int status();
  std::string errors();

 private:
  Ref<GSubprocess> process_;
  Ref<GDataInputStream> lines_;
};

}  // namespace vf
