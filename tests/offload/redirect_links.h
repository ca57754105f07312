// SPDX-License-Identifier: LGPL-2.1-or-later

#pragma once

#include <string>

namespace vf::test {

// Detaches the eBPF programs that this process has attached, as `bpftool link detach` does; all of
// them, or only the one of that name. How many it found.
int detach_own_links(const std::string& program = {});

}  // namespace vf::test
