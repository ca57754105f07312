// SPDX-License-Identifier: LGPL-2.1-or-later
//
// The hook: whether libvirt can run it, whether it is of this build, whether libvirt knows of it,
// and what other hooks do to it.

#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "doctor/finding.h"
#include "doctor/reading.h"

namespace vf {

struct OtherHook {
  std::string path;
  bool executable = false;
  std::int64_t changed = 0;     // Unix time, seconds
  std::string text;             // its start, where it is a script
  bool has_interpreter = true;  // what its first line names is there
  bool is_program = false;      // ELF
};

struct HookFacts {
  std::string program;              // where this build has it
  std::string link;                 // where libvirt looks for it
  std::optional<Error> unreadable;  // the folder of hooks cannot be looked into

  enum class Link { absent, link, file };
  Link kind = Link::absent;
  std::string target;        // of the link
  bool leads_there = false;  // the link is the program
  bool exists = false;       // what the link leads to
  bool executable = false;
  std::int64_t since = 0;  // Unix time at which link or program came
  bool program_exists = false;
  std::string own_version;
  Result<std::string> version = std::string();  // what it prints

  std::vector<OtherHook> others;

  std::vector<RunningProcess> libvirt;  // that run QEMU domains
  bool daemon_answers = false;
  std::optional<std::int64_t> heard;  // Unix time at which a daemon last heard from it
};

void judge_hook(const HookFacts& facts, Findings& findings);

// `program` and `hooks` are a build's places.
HookFacts read_hook(const std::string& program, const std::string& hooks);

}  // namespace vf
