// SPDX-License-Identifier: LGPL-2.1-or-later
//
// virt-forward-hook: what libvirt runs for every operation of every QEMU domain, as
// "50-virt-forward DOMAIN OPERATION SUBOPERATION EXTRA" with the domain's XML on standard input.

#include <unistd.h>

#include <string_view>

#include "hooks/delivery.h"
#include "hooks/guard.h"
#include "hooks/journal.h"
#include "hooks/run.h"

int main(int argc, char** argv) {
  using namespace vf;
  constexpr std::chrono::milliseconds reserve{15};  // to say why, before the guard's timer ends us
  // For virt-forward-doctor(1); libvirt gives four arguments.
  if (argc == 2 && std::string_view(argv[1]) == "--version") {
    constexpr std::string_view version = "virt-forward-hook " VF_VERSION "\n";
    return write(STDOUT_FILENO, version.data(), version.size()) < 0 ? 1 : 0;
  }
  install_guard(hook_budget);
  const Deadline deadline = Deadline::after(hook_budget - reserve);
  if (argc < 3) {
    complain(
        "usage: virt-forward-hook DOMAIN OPERATION [SUBOPERATION EXTRA] <DOMAIN-XML; "
        "libvirt runs this",
        deadline);
    _exit(0);
  }
  const Outcome outcome = run_hook({.domain = argv[1],
                                    .operation = argv[2],
                                    .input = STDIN_FILENO,
                                    .socket_path = hook_socket_path(),
                                    .deadline = deadline,
                                    .on_required = refuse_when_cut_short,
                                    .every_domain = geteuid() != 0});
  if (!outcome.log.empty())
    log_line(outcome.severe ? Severity::warning : Severity::info, outcome.log);
  if (outcome.status != 0) complain(outcome.complaint, Deadline::after(reserve));
  _exit(outcome.status);
}
