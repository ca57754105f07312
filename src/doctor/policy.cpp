// SPDX-License-Identifier: LGPL-2.1-or-later

#include "doctor/policy.h"

#include <glib.h>
#include <unistd.h>

#include "doctor/check.h"
#include "doctor/words.h"
#include "glib/shell_word.h"

namespace vf {

void judge_policy(const std::vector<PolicyProblem>& problems, const std::string& restart,
                  Findings& findings) {
  for (const PolicyProblem& problem : problems) {
    if (problem.unreadable && geteuid() != 0)
      findings.push_back({FindingId::policy, Severity::not_checked, problem.file,
                          "whether the host policy is right: " + problem.what,
                          "sudo virt-forward doctor"});
    else
      findings.push_back(
          {FindingId::policy_wrong, Severity::error, problem.file,
           "the host policy is wrong, and the daemon does not start with it, or goes "
           "on with the one that it had: " +
               problem.what,
           "${EDITOR:-vi} " + shell_word(problem.file) + " && " + restart +
               "   # man virt-forward.conf"});
  }
}

void check_policy(const Seen& seen, Findings& findings) {
  for (const SeenDaemon& daemon : seen.daemons) {
    if (daemon.system)
      judge_policy(load_policy(VF_POLICY_DIRECTORY).problems,
                   "systemctl reload-or-restart virt-forwardd", findings);
    else if (daemon.uri.ends_with("/session"))
      judge_policy(load_policy(std::string(g_get_user_config_dir()) + "/virt-forward").problems,
                   "systemctl --user reload-or-restart virt-forwardd", findings);
  }
}

}  // namespace vf
