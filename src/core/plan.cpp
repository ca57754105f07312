// SPDX-License-Identifier: LGPL-2.1-or-later

#include "core/plan.h"

#include <algorithm>
#include <unordered_map>

namespace vf {
namespace {

// A bound port stays as long as it is an answer to the claim: a forward that moved away from a busy
// port keeps its place for the run.
bool satisfies(const ActualForward& actual, const HostClaim& claim) {
  if (actual.claim.protocol != claim.protocol) return false;
  if (actual.claim.addresses != claim.addresses || actual.claim.socket != claim.socket)
    return false;
  if (!claim.port || claim.port == actual.port) return true;
  return claim.on_busy != OnBusy::fail && actual.claim.port == claim.port &&
         actual.claim.guess == claim.guess;
}

int urgency(const HostClaim& claim) {
  if (claim.guess) return 3;
  if (!claim.port) return 2;
  return claim.on_busy == OnBusy::fail ? 0 : 1;
}

}  // namespace

Plan plan(const std::vector<DesiredForward>& desired, const std::vector<ActualForward>& actual) {
  std::unordered_map<std::string_view, const DesiredForward*> wanted;
  for (const DesiredForward& forward : desired)
    wanted.emplace(forward.key, &forward);

  Plan plan;
  std::unordered_map<std::string_view, const ActualForward*> kept;
  for (const ActualForward& forward : actual) {
    const auto found = wanted.find(forward.key);
    if (found != wanted.end() && satisfies(forward, found->second->claim))
      kept.emplace(forward.key, &forward);
    else
      plan.remove.push_back(forward.key);
  }

  for (const DesiredForward& forward : desired) {
    const auto found = kept.find(forward.key);
    if (found == kept.end())
      plan.bind.push_back(forward);
    else if (forward.withdraw) {
      if (found->second->served) plan.withdraw.push_back(forward.key);
    } else if (forward.serve && !found->second->served)
      plan.serve.push_back(forward);
    else if (forward.serve && found->second->route != forward.route)
      plan.update.push_back(forward);
  }
  std::stable_sort(plan.bind.begin(), plan.bind.end(),
                   [](const DesiredForward& left, const DesiredForward& right) {
                     return urgency(left.claim) < urgency(right.claim);
                   });
  return plan;
}

}  // namespace vf
