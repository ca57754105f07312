// SPDX-License-Identifier: LGPL-2.1-or-later
//
// Reading this host: files, processes, programs. Everything is bounded in size and in time.

#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "base/result.h"

namespace vf {

// The first `most` bytes of a file. NotAllowed where this user may not; Failed for all else.
Result<std::string> read_text(const std::string& path, std::size_t most = 1 << 20);
// The last `most` bytes.
Result<std::string> read_end(const std::string& path, std::size_t most = 1 << 20);

// Of what is in a folder, hidden files left out, sorted; none where it cannot be read.
std::vector<std::string> names_in(const std::string& folder, std::size_t most = 4096);

struct RunningProcess {
  std::uint32_t pid = 0;
  std::string name;          // as the kernel knows it: at most 15 bytes
  std::int64_t started = 0;  // Unix time, seconds
  std::uint32_t uid = 0;     // whose it is
};
// Those of these names, where one may see them.
std::vector<RunningProcess> processes_named(const std::vector<std::string>& names);

// What a process runs. NotAllowed for a process of another user.
struct RunningProgram {
  std::string path;
  bool replaced = false;  // another file is at that path by now, or none
};
Result<RunningProgram> program_of(std::uint32_t pid);

// What a program prints, within five seconds and without a shell. Failed: it cannot be run, takes
// too long, or ends with another status than 0; the message has what it said.
Result<std::string> output_of(const std::vector<std::string>& command);

// "root", or the number where nobody has that name.
std::string user_name(std::uint32_t uid);

}  // namespace vf
