// SPDX-License-Identifier: LGPL-2.1-or-later

#include "doctor/denials.h"

#include <algorithm>
#include <set>

#include "base/printable.h"
#include "doctor/check.h"

namespace vf {
namespace {

// The value of NAME=VALUE or NAME="VALUE" in an audit line.
std::string field(std::string_view line, std::string_view name) {
  for (std::size_t at = line.find(name); at != std::string_view::npos;
       at = line.find(name, at + 1)) {
    const std::size_t value = at + name.size() + 1;
    if ((at > 0 && line[at - 1] != ' ') || value > line.size() || line[value - 1] != '=') continue;
    if (value < line.size() && line[value] == '"')
      return std::string(line.substr(value + 1, line.find('"', value + 1) - value - 1));
    return std::string(line.substr(value, line.find_first_of(" \n", value) - value));
  }
  return {};
}

bool ours(std::string_view line) {
  return line.find("virt-forward") != std::string_view::npos ||
         line.find("/etc/libvirt/hooks") != std::string_view::npos;
}

// libvirt's daemons look their clients up in /proc. Without this permission the kernel hides
// addresses there (do_task_stat() in fs/proc/array.c), which they do not want.
bool harmless(std::string_view line) {
  const std::string profile = field(line, "profile");
  return field(line, "operation") == "ptrace" && (profile == "libvirtd" || profile == "virtqemud");
}

// What would have allowed it, as apparmor.d(5) has it; empty where that is not known.
std::string rule_of(std::string_view line) {
  const std::string operation = field(line, "operation");
  const std::string path = field(line, "name");
  const std::string mask = field(line, "denied_mask");
  if (operation == "ptrace" || operation == "signal")
    return operation + " (" + mask + ") peer=" + field(line, "peer") + ',';
  if (operation == "capable") return "capability " + field(line, "capname") + ',';
  if (const std::string family = field(line, "family"); !family.empty())
    return "network " + family + ' ' + field(line, "sock_type") + ',';
  if (path.empty()) return {};
  const bool runs = mask.find('x') != std::string::npos;
  return path + ' ' + (runs ? "rPUx" : mask.empty() ? "r" : mask) + ',';
}

void judge_apparmor(std::string_view line, std::set<std::string>& told, Findings& findings) {
  if (line.find("apparmor=\"DENIED\"") == std::string_view::npos || !ours(line) || harmless(line))
    return;
  const std::string profile = field(line, "profile");
  const std::string path = field(line, "name");
  const std::string mask = field(line, "denied_mask");
  const std::string rule = rule_of(line);
  if (!told.insert("apparmor " + profile + ' ' + path + ' ' + mask + ' ' + rule).second) return;
  const std::string base = profile.substr(0, profile.find("//"));
  const std::string file = base == "libvirtd"    ? "usr.sbin.libvirtd"
                           : base == "virtqemud" ? "usr.sbin.virtqemud"
                                                 : base.substr(base.rfind('/') + 1);
  const std::string load = "apparmor_parser --replace /etc/apparmor.d/" + printable(file);
  findings.push_back(
      {FindingId::apparmor_denied, Severity::error, printable(path.empty() ? profile : path),
       "AppArmor's profile " + printable(profile) + " forbade " + printable(field(line, "comm")) +
           " \"" + printable(field(line, "operation")) + "\" (" +
           printable(mask.empty() ? rule : mask) + ')',
       rule.empty() ? "editor /etc/apparmor.d/local/" + printable(file) + " && " + load
                    : "echo '" + printable(rule) + "' >> /etc/apparmor.d/local/" + printable(file) +
                          " && " + load});
}

void judge_selinux(std::string_view line, std::set<std::string>& told, Findings& findings) {
  const std::size_t denied = line.find("avc:  denied  {");
  if (denied == std::string_view::npos || !ours(line)) return;
  const std::size_t begin = denied + 15;
  std::string what(line.substr(begin, line.find('}', begin) - begin));
  what.erase(std::remove(what.begin(), what.end(), ' '), what.end());
  const std::string program = field(line, "comm");
  const std::string path = field(line, "path").empty() ? field(line, "name") : field(line, "path");
  if (!told.insert("selinux " + program + ' ' + path + ' ' + what).second) return;
  findings.push_back(
      {FindingId::selinux_denied, Severity::error, printable(path.empty() ? program : path),
       "SELinux forbade " + printable(program) + " \"" + printable(what) + "\" (" +
           printable(field(line, "scontext")) + " on " + printable(field(line, "tcontext")) + ')',
       "restorecon -v /usr/sbin/virt-forward-hook /etc/libvirt/hooks/qemu.d/50-virt-forward"
       "   # and if that does not help: ausearch -m avc -ts boot | audit2allow -M "
       "virt-forward && semodule -i virt-forward.pp"});
}

}  // namespace

void judge_denials(const DenialFacts& facts, Findings& findings) {
  std::set<std::string> told;
  std::string_view rest = facts.log;
  while (!rest.empty()) {
    const std::size_t end = std::min(rest.find('\n'), rest.size());
    const std::string_view line = rest.substr(0, end);
    rest.remove_prefix(std::min(end + 1, rest.size()));
    judge_apparmor(line, told, findings);
    judge_selinux(line, told, findings);
  }
  if (facts.any) return;
  std::string why;
  for (const Error& error : facts.unread)
    why += (why.empty() ? "" : "; ") + error.message;
  findings.push_back({FindingId::denials, Severity::not_checked, "AppArmor, SELinux",
                      "whether they forbade something" + (why.empty() ? "" : ": " + why),
                      "sudo virt-forward doctor"});
}

void check_denials(const Seen& seen, Findings& findings) {
  if (std::ranges::any_of(seen.daemons, [](const SeenDaemon& daemon) { return daemon.system; }))
    judge_denials(read_denials(), findings);
}

}  // namespace vf
