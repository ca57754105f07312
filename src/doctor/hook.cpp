// SPDX-License-Identifier: LGPL-2.1-or-later
//
// libvirt looks whether there are hooks at its start and on SIGHUP, and only then. Nothing tells
// whether SIGHUP came, so that a libvirtd older than the hook has not noticed it is a guess until
// the hook was heard; one that found another hook then runs ours as well.

#include "doctor/hook.h"

#include <glib.h>

#include <algorithm>

#include "base/printable.h"
#include "doctor/check.h"

namespace vf {
namespace {

constexpr char notice_command[] =
    "systemctl kill --signal=HUP libvirtd   # virtqemud on modular hosts";

constexpr std::int64_t start_error = 2;

std::string moment(std::int64_t unix_seconds) {
  GDateTime* time = g_date_time_new_from_unix_local(unix_seconds);
  if (!time) return "?";
  gchar* words = g_date_time_format(time, "%Y-%m-%d %H:%M:%S");
  const std::string text = words ? words : "?";
  g_free(words);
  g_date_time_unref(time);
  return text;
}

std::string link_command(const HookFacts& facts) {
  const std::string folder = facts.link.substr(0, facts.link.rfind('/'));
  return "mkdir -p " + folder + " && ln -sfn " + facts.program + ' ' + facts.link;
}

// Whether libvirt could run it as far as files tell.
bool judge_file(const HookFacts& facts, Findings& findings) {
  const auto add = [&](FindingId id, Severity severity, std::string message, std::string fix) {
    findings.push_back({id, severity, facts.link, std::move(message), std::move(fix)});
  };
  const std::string reinstall = "reinstall virt-forward: " + facts.program + " is missing";
  if (facts.kind == HookFacts::Link::absent) {
    add(FindingId::hook_missing, Severity::error,
        "libvirt's hook is not installed: the daemon learns of starts and stops late, and "
        "required=\"yes\" has no effect",
        facts.program_exists ? link_command(facts) + "\n" + notice_command : reinstall);
    return false;
  }
  if (!facts.exists) {
    add(FindingId::hook_dangling, Severity::error,
        "the link leads to " + printable(facts.target) + ", which is not there: libvirt skips it",
        facts.program_exists ? link_command(facts) : reinstall);
    return false;
  }
  if (!facts.executable) {
    add(FindingId::hook_not_executable, Severity::error,
        "libvirt skips a hook that is not executable",
        "chmod 755 " + (facts.leads_there ? facts.program : facts.link));
    return false;
  }
  if (facts.kind == HookFacts::Link::file)
    add(FindingId::hook_copy, Severity::warning,
        "it is a file of its own and no link to " + facts.program + ": an upgrade passes it by",
        link_command(facts));
  else if (!facts.leads_there)
    add(FindingId::hook_elsewhere, Severity::warning,
        "the link leads to " + printable(facts.target) + " and not to " + facts.program +
            " of this build",
        link_command(facts));
  if (!facts.leads_there) return true;  // what else it is, is not run to see
  if (!facts.version) {
    add(FindingId::hook_cannot_run, Severity::error,
        "it cannot be run, so libvirt can start no domain: " + facts.version.error().message,
        "rm " + facts.link + "   # domains start again; then reinstall virt-forward");
    return false;
  }
  if (*facts.version != facts.own_version)
    add(FindingId::hook_version, Severity::warning,
        "it says " +
            (facts.version->empty() ? "nothing" : '"' + printable(*facts.version, 80) + '"') +
            ", and this build's says \"" + facts.own_version + '"',
        "reinstall virt-forward, so that " + facts.program + " is of the same build");
  return true;
}

void judge_notice(const HookFacts& facts, Findings& findings) {
  for (const RunningProcess& libvirt : facts.libvirt) {
    if (libvirt.uid != 0) continue;                                // a session's
    if (facts.heard && *facts.heard >= libvirt.started) continue;  // it runs the hook: certain
    // It looked when the hook was there. The kernel tells the start of a process to a second or so.
    if (libvirt.started + start_error >= facts.since) continue;
    const bool had_others = std::ranges::any_of(facts.others, [&](const OtherHook& other) {
      return other.executable && other.changed < libvirt.started;
    });
    if (had_others) continue;
    const std::string why = libvirt.name + " (process " + std::to_string(libvirt.pid) +
                            ") runs since " + moment(libvirt.started) +
                            " and looks for hooks only then; the hook came at " +
                            moment(facts.since);
    const bool known = facts.daemon_answers;
    findings.push_back(
        {FindingId::hook_not_noticed, Severity::warning, facts.link,
         why + ". Unless it was sent SIGHUP since, it does not run it; " +
             (known ? "the daemon has not heard from it (this is likely, not certain)"
                    : "no daemon could say whether it heard from it (this is a guess)"),
         notice_command});
  }
}

// A word that stands alone: "virsh" in "virsh list", not in "/tmp/virsh.log".
bool calls(const std::string& text, std::string_view program) {
  for (std::size_t line = 0; line < text.size();) {
    const std::size_t end = std::min(text.find('\n', line), text.size());
    const std::string_view words = std::string_view(text).substr(line, end - line);
    line = end + 1;
    const std::size_t begin = words.find_first_not_of(" \t");
    if (begin == std::string_view::npos || words[begin] == '#') continue;
    for (std::size_t at = words.find(program); at != std::string_view::npos;
         at = words.find(program, at + 1)) {
      constexpr std::string_view before = " \t;&|(`/'\"";
      constexpr std::string_view behind = " \t;&|)`'\"";
      const std::size_t next = at + program.size();
      if ((at == 0 || before.find(words[at - 1]) != std::string_view::npos) &&
          (next == words.size() || behind.find(words[next]) != std::string_view::npos))
        return true;
    }
  }
  return false;
}

void judge_other(const OtherHook& other, Findings& findings) {
  if (!other.executable) return;  // libvirt skips it
  const bool script = other.text.starts_with("#!");
  if (!other.is_program && (!script || !other.has_interpreter)) {
    findings.push_back(
        {FindingId::other_hook_broken, Severity::error, other.path,
         script
             ? "its interpreter \"" +
                   printable(other.text.substr(2, other.text.find('\n') - 2), 100) +
                   "\" is not there: libvirt cannot run it and then starts no domain"
             : "it is neither a program nor a script with \"#!\": libvirt cannot run it and then "
               "starts no domain",
         "chmod -x " + other.path});
    return;
  }
  for (const std::string_view program : {"virsh", "virt-install", "virt-xml", "virt-forward"})
    if (calls(other.text, program)) {
      findings.push_back(
          {FindingId::other_hook_calls_libvirt, Severity::warning, other.path,
           "it seems to call " + std::string(program) +
               ": libvirt waits for its hooks and answers nobody about the domain meanwhile, so "
               "both may hang, and ours behind it",
           "chmod -x " + other.path + "   # or let it call " + std::string(program) +
               " in the background, without libvirt waiting: setsid -f … </dev/null >/dev/null "
               "2>&1"});
      return;
    }
}

}  // namespace

void judge_hook(const HookFacts& facts, Findings& findings) {
  if (facts.unreadable) {
    findings.push_back({FindingId::hook, Severity::not_checked, facts.link,
                        "whether it is installed: " + facts.unreadable->message,
                        "sudo virt-forward doctor"});
    return;
  }
  if (judge_file(facts, findings)) judge_notice(facts, findings);
  for (const OtherHook& other : facts.others)
    judge_other(other, findings);
}

void check_hook(const Seen& seen, Findings& findings) {
  const SeenDaemon* system = nullptr;
  for (const SeenDaemon& daemon : seen.daemons)
    if (daemon.system) system = &daemon;
  if (!system) return;
  HookFacts facts = read_hook(VF_HOOK_PROGRAM, VF_HOOKS_DIRECTORY);
  facts.own_version = "virt-forward-hook " VF_VERSION;
  facts.daemon_answers = !system->silent;
  if (system->hook_heard) facts.heard = system->hook_heard;
  judge_hook(facts, findings);
}

}  // namespace vf
