// SPDX-License-Identifier: LGPL-2.1-or-later

#include <array>

#include "doctor/check.h"

namespace vf {
namespace {

constexpr std::array<Check, 9> table{{{"services", check_services},
                                      {"host policy", check_policy},
                                      {"libvirt", check_libvirt},
                                      {"permissions", check_permissions},
                                      {"hook", check_hook},
                                      {"denials", check_denials},
                                      {"domains", check_domains},
                                      {"host ports", check_host_ports},
                                      {"firewall", check_firewall}}};

}  // namespace

std::span<const Check> checks() {
  return table;
}

}  // namespace vf
