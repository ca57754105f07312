// SPDX-License-Identifier: LGPL-2.1-or-later
//
// Every finding that there can be. virt-forward-doctor(1) says what each means, and a test of
// tests/e2e/test_doctor*.py causes it; tests/unit/doctor/causes_test.cpp holds them together.

#pragma once

#include "core/vocabulary.h"

namespace vf {

enum class FindingId {
  daemon_down,
  daemon_silent,
  daemon_version,
  daemon_program_replaced,
  relay_down,
  relay_program_replaced,
  units_missing,
  units_masked,
  units_disabled,
  policy_wrong,
  libvirt_unreachable,
  libvirt_silent,
  libvirt_disconnected,
  polkit_refuses,
  polkit_actions_missing,
  hook_missing,
  hook_dangling,
  hook_elsewhere,
  hook_copy,
  hook_not_executable,
  hook_cannot_run,
  hook_version,
  hook_not_noticed,
  other_hook_broken,
  other_hook_calls_libvirt,
  apparmor_denied,
  selinux_denied,
  metadata,
  no_address,
  no_vsock,
  agent_missing,
  agent_refused,
  agent_version,
  loopback_only,
  live_only,
  config_only,
  forward_waiting,
  forward_no_listener,
  forward_denied,
  forward_failed,
  host_port_held,
  firewall_drops,
  // What could not be looked at.
  daemon,
  programs,
  units,
  policy,
  libvirt,
  polkit,
  hook,
  denials,
  domains,
  firewall
};

template <>
WordTable<FindingId> words();

}  // namespace vf
