// SPDX-License-Identifier: LGPL-2.1-or-later
//
// Daemon, relay and their units, and libvirt.

#pragma once

#include <optional>
#include <string>
#include <vector>

#include "doctor/finding.h"
#include "doctor/reading.h"
#include "doctor/seen.h"

namespace vf {

void judge_daemon(const SeenDaemon& daemon, const std::string& own_version, Findings& findings);

// A program of ours that runs; nothing in `program` where this user may not look.
struct ServiceProcess {
  RunningProcess process;
  Result<RunningProgram> program;
};
// `system`: there is a system daemon that should have a relay.
void judge_processes(const std::vector<ServiceProcess>& processes, bool system, Findings& findings);

// State of a unit file as systemd says it: "enabled", "disabled", "masked", ...; empty: no such
// unit.
struct UnitState {
  std::string unit;
  std::string state;
};
void judge_units(const std::vector<UnitState>& units, Findings& findings);
// Of our units; nothing where systemd does not run here.
std::optional<Result<std::vector<UnitState>>> read_units();

// What came of asking libvirt. NoDaemon: it does not answer in time.
void judge_libvirt(const std::string& uri, const Result<void>& answer, Findings& findings);
// Asks for its version, in a thread: a libvirtd that has stopped never answers. NotSupported where
// this host has no libvirt's library.
Result<void> ask_libvirt(const std::string& uri);

}  // namespace vf
