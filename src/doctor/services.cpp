// SPDX-License-Identifier: LGPL-2.1-or-later

#include "doctor/services.h"

#include <unistd.h>

#include <algorithm>

#include "base/printable.h"
#include "doctor/check.h"

namespace vf {
namespace {

constexpr char daemon_program[] = "virt-forwardd";
constexpr char relay_program[] = "virt-forward-relay";
constexpr std::string_view target = "virt-forward.target";

const char* restart_command(const SeenDaemon& daemon) {
  return daemon.system ? "systemctl restart virt-forwardd"
                       : "systemctl --user restart virt-forwardd";
}

}  // namespace

void judge_daemon(const SeenDaemon& daemon, const std::string& own_version, Findings& findings) {
  if (daemon.silent) {
    if (daemon.silent->code == ErrorCode::not_allowed)
      findings.push_back({FindingId::daemon, Severity::not_checked, daemon.title,
                          "it cannot be asked: " + daemon.silent->message,
                          "sudo virt-forward doctor"});
    else if (daemon.start.empty() ||
             daemon.silent->message.find("does not answer") != std::string::npos)
      findings.push_back({FindingId::daemon_silent, Severity::error, daemon.title,
                          daemon.silent->message, restart_command(daemon)});
    else
      findings.push_back(
          {FindingId::daemon_down, Severity::error, daemon.title,
           "it does not run: the relay, if it runs, goes on with the forwards that it "
           "has; no guest, port or change is noticed, and nothing new is forwarded",
           daemon.start});
    return;
  }
  if (daemon.version != own_version)
    findings.push_back({FindingId::daemon_version, Severity::warning, daemon.title,
                        "it is of version " +
                            (daemon.version.empty() ? "unknown" : daemon.version) +
                            ", and this virt-forward of " + own_version,
                        restart_command(daemon)});
  if (!daemon.relay_connected)
    findings.push_back({FindingId::relay_down, Severity::error, daemon.title,
                        "it has no relay that answers in its protocol: host ports are bound, but "
                        "nobody carries bytes",
                        daemon.system ? "systemctl restart virt-forward-relay"
                                      : "systemctl --user restart virt-forward-relay"});
  if (!daemon.libvirt_connected)
    findings.push_back(
        {FindingId::libvirt_disconnected, Severity::error, daemon.title,
         "it has no connection to " + daemon.uri + ": domains that start now get no forwards",
         daemon.system ? "systemctl restart libvirtd   # virtqemud on modular hosts"
                       : "virsh --connect " + daemon.uri + " version"});
}

void judge_processes(const std::vector<ServiceProcess>& processes, bool system,
                     Findings& findings) {
  bool looked = true;
  for (const ServiceProcess& one : processes) {
    if (!one.program) {
      looked = false;
      continue;
    }
    if (!one.program->replaced) continue;
    const std::string program = one.program->path.substr(one.program->path.rfind('/') + 1);
    findings.push_back({program == relay_program ? FindingId::relay_program_replaced
                                                 : FindingId::daemon_program_replaced,
                        Severity::warning, program,
                        "process " + std::to_string(one.process.pid) + " runs a " + program +
                            " that is no longer installed: it was upgraded or removed since",
                        "systemctl restart " + program});
  }
  if (!looked && system)
    findings.push_back(
        {FindingId::programs, Severity::not_checked, "virt-forwardd, virt-forward-relay",
         "whether they are the installed programs is for root to see", "sudo virt-forward doctor"});
}

void judge_units(const std::vector<UnitState>& units, Findings& findings) {
  std::string missing;
  std::string masked;
  bool target_off = false;
  bool socket_off = false;
  for (const UnitState& unit : units) {
    const auto add = [&unit](std::string& list) { list += (list.empty() ? "" : " ") + unit.unit; };
    if (unit.state.empty()) add(missing);
    if (unit.state.starts_with("masked")) add(masked);
    if (unit.state.starts_with("disabled")) (unit.unit == target ? target_off : socket_off) = true;
  }
  if (!missing.empty())
    findings.push_back({FindingId::units_missing, Severity::error, missing,
                        "systemd does not know these units", "systemctl daemon-reload"});
  if (!masked.empty())
    findings.push_back({FindingId::units_masked, Severity::error, masked,
                        "systemd may not start these units", "systemctl unmask " + masked});
  // The target brings the sockets; without it they do, when a domain starts.
  if (target_off && socket_off)
    findings.push_back({FindingId::units_disabled, Severity::warning, std::string(target),
                        "it is not enabled: after the next boot nothing is forwarded",
                        "systemctl enable --now " + std::string(target)});
}

void judge_libvirt(const std::string& uri, const Result<void>& answer, Findings& findings) {
  if (answer) return;
  const std::string& message = answer.error().message;
  if (answer.error().code == ErrorCode::not_supported) {
    findings.push_back(
        {FindingId::libvirt, Severity::not_checked, uri, message, "apt install libvirt0"});
    return;
  }
  if (answer.error().code == ErrorCode::no_daemon) {
    findings.push_back({FindingId::libvirt_silent, Severity::error, uri, message,
                        "systemctl restart libvirtd   # virtqemud on modular hosts"});
    return;
  }
  const bool refused = message.find("ermission denied") != std::string::npos ||
                       message.find("uthentication") != std::string::npos;
  findings.push_back(
      {FindingId::libvirt_unreachable, Severity::error, uri,
       "libvirt cannot be reached: " + printable(message, 300),
       refused
           ? "usermod --append --groups libvirt " + user_name(getuid()) + "   # then log in again"
           : "systemctl start libvirtd.socket   # virtqemud.socket on modular hosts"});
}

void check_services(const Seen& seen, Findings& findings) {
  for (const SeenDaemon& daemon : seen.daemons)
    judge_daemon(daemon, VF_VERSION, findings);
  const auto system = std::ranges::find_if(seen.daemons, &SeenDaemon::system);
  if (system == seen.daemons.end()) return;
  std::vector<ServiceProcess> processes;
  for (const RunningProcess& process : processes_named({daemon_program, relay_program}))
    processes.push_back({process, program_of(process.pid)});
  judge_processes(processes, !system->silent, findings);
  const auto units = read_units();
  if (!units) return;
  if (*units)
    judge_units(**units, findings);
  else
    findings.push_back({FindingId::units, Severity::not_checked, "systemd",
                        "whether the units are enabled: " + units->error().message,
                        "systemctl is-enabled virt-forward.target"});
}

void check_libvirt(const Seen& seen, Findings& findings) {
  std::vector<std::string> uris;
  for (const SeenDaemon& daemon : seen.daemons)
    if (daemon.uri.starts_with("qemu")) uris.push_back(daemon.uri);
  std::ranges::sort(uris);
  uris.erase(std::unique(uris.begin(), uris.end()), uris.end());
  for (const std::string& uri : uris)
    judge_libvirt(uri, ask_libvirt(uri), findings);
}

}  // namespace vf
