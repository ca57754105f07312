// SPDX-License-Identifier: LGPL-2.1-or-later

#include "daemon/guest_ports.h"

#include <algorithm>
#include <set>
#include <utility>

namespace vf {

void GuestPorts::synced(std::uint32_t left_out, std::uint64_t slowed) {
  known_ = true;
  left_out_ = left_out;
  slowed_ = slowed;
}

void GuestPorts::clear() {
  *this = GuestPorts();
}

void GuestPorts::judge(const std::optional<AutoDefinition>& definition, const Policy& policy,
                       std::int64_t now) {
  std::vector<GuestListener> all;
  all.reserve(listeners_.size());
  for (const auto& [key, listener] : listeners_)
    all.push_back(listener);
  listening_ = detected_ports(all);

  std::set<std::string> present;
  for (const DetectedPort& port : listening_) {
    const std::string id = port.id();
    present.insert(id);
    const auto [entry, is_new] = entries_.try_emplace(id);
    if (is_new) entry->second.order = ++appeared_;
    entry->second.port = port;
    entry->second.gone.reset();
  }
  // Only what is forwarded has something to keep.
  for (auto& [id, entry] : entries_)
    if (!present.contains(id) && !entry.gone) entry.gone = now;
  std::erase_if(entries_, [&](const auto& item) {
    const Entry& entry = item.second;
    return entry.gone &&
           (entry.decision.state != DetectedState::forwarded || now - *entry.gone >= grace);
  });
  for (auto& [id, entry] : entries_)
    entry.decision = decide(definition, policy, entry.port);
  std::erase_if(entries_, [](const auto& item) {
    return item.second.gone && item.second.decision.state != DetectedState::forwarded;
  });
  limit(policy);
}

void GuestPorts::limit(const Policy& policy) {
  std::vector<Entry*> forwarded;
  for (auto& [id, entry] : entries_)
    if (entry.decision.state == DetectedState::forwarded) forwarded.push_back(&entry);
  if (forwarded.size() <= policy.automatic_ports_per_domain) return;
  std::ranges::sort(forwarded, {}, &Entry::order);
  for (std::size_t i = policy.automatic_ports_per_domain; i < forwarded.size(); ++i) {
    AutoDecision& decision = forwarded[i]->decision;
    decision.state = DetectedState::denied;
    decision.reason = "more than " + std::to_string(policy.automatic_ports_per_domain) +
                      " ports of one domain (" +
                      policy.origin("limits", "automatic-ports-per-domain") + ")";
    decision.forward.reset();
  }
}

std::optional<std::int64_t> GuestPorts::next_end() const {
  std::optional<std::int64_t> next;
  for (const auto& [id, entry] : entries_)
    if (entry.gone) next = std::min(next.value_or(*entry.gone + grace), *entry.gone + grace);
  return next;
}

std::vector<std::string> GuestPorts::problems() const {
  std::vector<std::string> lines;
  if (left_out_ > 0)
    lines.push_back("the guest listens on " + std::to_string(left_out_) +
                    " more ports than are looked at");
  if (slowed_ > 0) lines.push_back("the guest's ports change faster than they are followed");
  return lines;
}

}  // namespace vf
