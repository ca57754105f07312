// SPDX-License-Identifier: LGPL-2.1-or-later
//
// The checks of `virt-forward doctor`. To add one: a function like these in the file of its theme,
// which judges facts and does no I/O, what reads the facts in *_reading.cpp, a row in checks.cpp,
// its ids in finding_id.h and virt-forward-doctor(1), and a test in tests/e2e/test_doctor*.py that
// causes it.

#pragma once

#include <span>
#include <string_view>

#include "doctor/finding.h"
#include "doctor/seen.h"

namespace vf {

struct Check {
  std::string_view theme;
  void (*run)(const Seen& seen, Findings& findings);
};

// In the order in which one would look.
std::span<const Check> checks();

void check_services(const Seen& seen, Findings& findings);
void check_policy(const Seen& seen, Findings& findings);
void check_libvirt(const Seen& seen, Findings& findings);
void check_permissions(const Seen& seen, Findings& findings);
void check_hook(const Seen& seen, Findings& findings);
void check_denials(const Seen& seen, Findings& findings);
void check_domains(const Seen& seen, Findings& findings);
void check_host_ports(const Seen& seen, Findings& findings);
void check_firewall(const Seen& seen, Findings& findings);

}  // namespace vf
