// SPDX-License-Identifier: LGPL-2.1-or-later

#include "offload/redirect_program.h"

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <fcntl.h>
#include <sys/socket.h>

#include <cerrno>
#include <fstream>
#include <iterator>
#include <sstream>
#include <utility>
#include <vector>

#include "redirect.skel.h"

namespace vf {
namespace {

// libbpf would write to stderr, which is the program's business.
int say_nothing(libbpf_print_level, const char*, va_list) {
  return 0;
}

Result<std::uint64_t> own_netns_cookie() {
  const Fd socket(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
  std::uint64_t cookie = 0;
  socklen_t length = sizeof cookie;
  if (!socket || getsockopt(socket.get(), SOL_SOCKET, SO_NETNS_COOKIE, &cookie, &length) < 0)
    return Unexpected(system_error(errno, "cookie of the network namespace"));
  return cookie;
}

Result<Fd> open_unified_root() {
  std::ifstream file("/proc/self/mountinfo");
  const std::string mountinfo{std::istreambuf_iterator<char>(file), {}};
  const std::string path = unified_root(mountinfo);
  if (path.empty())
    return Unexpected(ErrorCode::not_supported,
                      "the unified control group hierarchy (cgroup2) is not mounted");
  Fd group(open(path.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!group) return Unexpected(system_error(errno, path));
  return group;
}

Error load_error(int error) {
  if (error == EPERM || error == EACCES)
    return {ErrorCode::not_allowed, "eBPF: needs CAP_BPF and CAP_NET_ADMIN"};
  if (error == ESRCH || error == ENOENT)
    return {ErrorCode::not_supported, "eBPF: this kernel does not describe itself (no BTF)"};
  return system_error(error, "eBPF: load of the redirection");
}

bool are_marks(const Fd& map) {
  bpf_map_info info{};
  __u32 length = sizeof info;
  return map && bpf_obj_get_info_by_fd(map.get(), &info, &length) == 0 &&
         info.type == BPF_MAP_TYPE_SK_STORAGE && info.key_size == sizeof(int) &&
         info.value_size == sizeof(redirect_mark) && info.map_flags == BPF_F_NO_PREALLOC;
}

}  // namespace

std::string unified_root(const std::string& mountinfo) {
  std::istringstream lines(mountinfo);
  std::string found;
  for (std::string line; std::getline(lines, line);) {
    // ID PARENT MAJOR:MINOR ROOT PATH OPTIONS [FIELD...] - TYPE SOURCE OPTIONS
    const std::size_t dash = line.find(" - ");
    if (dash == std::string::npos || line.compare(dash + 3, 8, "cgroup2 ") != 0) continue;
    std::istringstream words(line);
    std::string number, root, path;
    words >> number >> number >> number >> root >> path;
    if (root == "/") return path;
    if (found.empty()) found = path;  // of a part of the hierarchy, as in some containers
  }
  return found;
}

Result<std::unique_ptr<RedirectProgram>> RedirectProgram::load(Fd marks) {
  libbpf_set_print(say_nothing);
  const auto cookie = own_netns_cookie();
  if (!cookie) return Unexpected(cookie.error());
  auto group = open_unified_root();
  if (!group) return Unexpected(group.error());
  std::unique_ptr<RedirectProgram> program(new RedirectProgram);
  program->group_ = *std::move(group);
  if (!are_marks(marks)) marks.reset();
  Result<void> loaded;
  for (const Extras extras : {Extras{true, true}, Extras{true, false}, Extras{}})
    if (loaded = program->load(*cookie, extras, marks); loaded) return program;
  return Unexpected(loaded.error());
}

RedirectProgram::~RedirectProgram() {
  detach();
  redirect_bpf__destroy(skeleton_);
}

Result<void> RedirectProgram::load(std::uint64_t netns_cookie, Extras extras, const Fd& marks) {
  skeleton_ = redirect_bpf__open();
  if (!skeleton_) return Unexpected(load_error(errno));
  skeleton_->rodata->netns_cookie = netns_cookie;
  extras_ = extras;
  bpf_program__set_autoload(skeleton_->progs.connect6, extras.v6only);
  bpf_program__set_autoload(skeleton_->progs.connect6_without_perfmon, !extras.v6only);
  bpf_program__set_autoload(skeleton_->progs.state_changed, extras.failures);
  if (marks) bpf_map__reuse_fd(skeleton_->maps.marks, marks.get());
  if (const int error = redirect_bpf__load(skeleton_); error < 0) {
    redirect_bpf__destroy(skeleton_);
    skeleton_ = nullptr;
    return Unexpected(load_error(-error));
  }
  marks_ = Fd(fcntl(bpf_map__fd(skeleton_->maps.marks), F_DUPFD_CLOEXEC, 0));
  if (!marks_) return Unexpected(system_error(errno, "fcntl"));
  return {};
}

std::array<bpf_program*, RedirectProgram::programs> RedirectProgram::chosen() const {
  const auto& all = skeleton_->progs;
  return {all.connect4, reads_v6only() ? all.connect6 : all.connect6_without_perfmon,
          all.getpeername4, all.getpeername6};
}

Result<void> RedirectProgram::attach() {
  detach();
  const auto all = chosen();
  for (std::size_t i = 0; i < programs; ++i) {
    bpf_prog_info info{};
    __u32 length = sizeof info;
    if (bpf_obj_get_info_by_fd(bpf_program__fd(all[i]), &info, &length) == 0) {
      program_ids_[i] = info.id;
      links_[i] = bpf_program__attach_cgroup(all[i], group_.get());
    }
    if (!links_[i]) {
      const int error = errno;
      detach();
      return Unexpected(system_error(
          error,
          std::string("eBPF: attach ") + bpf_program__name(all[i]) + " to the control groups"));
    }
  }
  if (extras_.failures) failures_link_ = bpf_program__attach(skeleton_->progs.state_changed);
  return {};
}

void RedirectProgram::detach() {
  for (bpf_link*& link : links_)
    if (link) {
      bpf_link__destroy(link);
      link = nullptr;
    }
  bpf_link__destroy(std::exchange(failures_link_, nullptr));
}

std::string RedirectProgram::missing() const {
  const auto all = chosen();
  for (std::size_t i = 0; i < programs; ++i) {
    const std::string name = bpf_program__name(all[i]);
    if (!links_[i]) return "eBPF: " + name + " is not attached";
    bpf_link_info info{};
    __u32 length = sizeof info;
    if (bpf_obj_get_info_by_fd(bpf_link__fd(links_[i]), &info, &length) < 0)
      return system_error(errno, "eBPF: state of " + name).message;
    // A link that somebody detached is there still, of no control group.
    if (info.cgroup.cgroup_id == 0) return "eBPF: somebody detached " + name;
    if (info.prog_id != program_ids_[i]) return "eBPF: somebody replaced " + name;
  }
  return {};
}

std::optional<int> RedirectProgram::failures() const {
  if (!extras_.failures) return std::nullopt;
  return bpf_map__fd(skeleton_->maps.failures);
}

Result<void> RedirectProgram::remove(std::span<const redirect_host> hosts) {
  if (hosts.empty()) return {};
  auto count = static_cast<__u32>(hosts.size());
  if (bpf_map_delete_batch(bpf_map__fd(skeleton_->maps.guests), hosts.data(), &count, nullptr) < 0)
    return Unexpected(system_error(errno, "eBPF: removal from the map of guests"));
  return {};
}

Result<void> RedirectProgram::set(std::span<const redirect_host> hosts,
                                  std::span<const redirect_guest> guests) {
  if (hosts.empty()) return {};
  std::vector<redirect_way> ways;
  for (const redirect_guest& guest : guests)
    ways.push_back({guest, 0});
  auto count = static_cast<__u32>(hosts.size());
  if (bpf_map_update_batch(bpf_map__fd(skeleton_->maps.guests), hosts.data(), ways.data(), &count,
                           nullptr) < 0)
    return Unexpected(system_error(errno, "eBPF: addition to the map of guests"));
  return {};
}

}  // namespace vf
