// SPDX-License-Identifier: LGPL-2.1-or-later

#include "doctor/finding_id.h"

#include <array>

namespace vf {
namespace {

constexpr std::array<std::pair<FindingId, std::string_view>, 52> table{
    {{FindingId::daemon_down, "daemon-down"},
     {FindingId::daemon_silent, "daemon-silent"},
     {FindingId::daemon_version, "daemon-version"},
     {FindingId::daemon_program_replaced, "daemon-program-replaced"},
     {FindingId::relay_down, "relay-down"},
     {FindingId::relay_program_replaced, "relay-program-replaced"},
     {FindingId::units_missing, "units-missing"},
     {FindingId::units_masked, "units-masked"},
     {FindingId::units_disabled, "units-disabled"},
     {FindingId::policy_wrong, "policy-wrong"},
     {FindingId::libvirt_unreachable, "libvirt-unreachable"},
     {FindingId::libvirt_silent, "libvirt-silent"},
     {FindingId::libvirt_disconnected, "libvirt-disconnected"},
     {FindingId::polkit_refuses, "polkit-refuses"},
     {FindingId::polkit_actions_missing, "polkit-actions-missing"},
     {FindingId::hook_missing, "hook-missing"},
     {FindingId::hook_dangling, "hook-dangling"},
     {FindingId::hook_elsewhere, "hook-elsewhere"},
     {FindingId::hook_copy, "hook-copy"},
     {FindingId::hook_not_executable, "hook-not-executable"},
     {FindingId::hook_cannot_run, "hook-cannot-run"},
     {FindingId::hook_version, "hook-version"},
     {FindingId::hook_not_noticed, "hook-not-noticed"},
     {FindingId::other_hook_broken, "other-hook-broken"},
     {FindingId::other_hook_calls_libvirt, "other-hook-calls-libvirt"},
     {FindingId::apparmor_denied, "apparmor-denied"},
     {FindingId::selinux_denied, "selinux-denied"},
     {FindingId::metadata, "metadata"},
     {FindingId::no_address, "no-address"},
     {FindingId::no_vsock, "no-vsock"},
     {FindingId::agent_missing, "agent-missing"},
     {FindingId::agent_refused, "agent-refused"},
     {FindingId::agent_version, "agent-version"},
     {FindingId::loopback_only, "loopback-only"},
     {FindingId::live_only, "live-only"},
     {FindingId::config_only, "config-only"},
     {FindingId::forward_waiting, "forward-waiting"},
     {FindingId::forward_no_listener, "forward-no-listener"},
     {FindingId::forward_denied, "forward-denied"},
     {FindingId::forward_failed, "forward-failed"},
     {FindingId::host_port_held, "host-port-held"},
     {FindingId::firewall_drops, "firewall-drops"},
     {FindingId::daemon, "daemon"},
     {FindingId::programs, "programs"},
     {FindingId::units, "units"},
     {FindingId::policy, "policy"},
     {FindingId::libvirt, "libvirt"},
     {FindingId::polkit, "polkit"},
     {FindingId::hook, "hook"},
     {FindingId::denials, "denials"},
     {FindingId::domains, "domains"},
     {FindingId::firewall, "firewall"}}};

constexpr bool has_all() {
  for (std::size_t at = 0; at < table.size(); ++at)
    if (table[at].first != static_cast<FindingId>(at)) return false;
  return table.back().first == FindingId::firewall;
}
static_assert(has_all(), "in the order of FindingId, and none left out");

}  // namespace

template <>
WordTable<FindingId> words() {
  return table;
}

}  // namespace vf
