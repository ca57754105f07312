// SPDX-License-Identifier: LGPL-2.1-or-later

#include "redirect_links.h"

#include <bpf/bpf.h>

#include <filesystem>
#include <fstream>
#include <set>

#include "base/fd.h"

namespace vf::test {
namespace {

// By what the kernel tells of this process's descriptors.
std::set<std::uint32_t> own_links() {
  std::set<std::uint32_t> ids;
  for (const auto& file : std::filesystem::directory_iterator("/proc/self/fdinfo")) {
    std::ifstream lines(file.path());
    for (std::string word; lines >> word;)
      if (std::uint32_t id = 0; word == "link_id:" && lines >> id) ids.insert(id);
  }
  return ids;
}

std::string program_name(std::uint32_t id) {
  const Fd program(bpf_prog_get_fd_by_id(id));
  bpf_prog_info info{};
  __u32 length = sizeof info;
  if (!program || bpf_obj_get_info_by_fd(program.get(), &info, &length) < 0) return {};
  return info.name;
}

}  // namespace

int detach_own_links(const std::string& program) {
  int found = 0;
  for (const std::uint32_t id : own_links()) {
    const Fd link(bpf_link_get_fd_by_id(id));
    bpf_link_info info{};
    __u32 length = sizeof info;
    if (!link || bpf_obj_get_info_by_fd(link.get(), &info, &length) < 0) continue;
    if (!program.empty() && program_name(info.prog_id) != program) continue;
    if (bpf_link_detach(link.get()) == 0) ++found;
  }
  return found;
}

}  // namespace vf::test
