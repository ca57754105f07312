// SPDX-License-Identifier: LGPL-2.1-or-later
//
// What /proc tells of processes. All of it bounded; what cannot be read is empty.

#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <vector>

namespace vf::guest {

struct ProcessText {
  std::string name;
  std::string command;
  std::string container;
  friend bool operator==(const ProcessText&, const ProcessText&) = default;
};

ProcessText read_process(std::uint32_t pid);
// The inodes of the sockets that the process has open, in order.
std::vector<std::uint32_t> sockets_of(std::uint32_t pid);
// Who has these sockets open: the lowest process id, which is as a rule the eldest, but process 1
// only where nobody else has it. Looks at all processes until all are found.
std::map<std::uint32_t, std::uint32_t> find_holders(const std::vector<std::uint32_t>& inodes);

// Of the text of /proc/PID/cgroup: the part that tells a container or service, else empty.
std::string container_of(std::string_view control_groups);

}  // namespace vf::guest
