// SPDX-License-Identifier: LGPL-2.1-or-later
//
// Reconciler: tunnels that have to be laid before the relay can connect, and short-cuts past it.

#include "daemon/reconciler.h"

namespace vf {
namespace {

// A guest boots, and its agent or ssh server comes up.
constexpr std::chrono::seconds better_grace{20};

}  // namespace

void Reconciler::order_tunnels(const Uuids& uuids) {
  for (const auto& way : ways_) {
    const auto layer = layers_.find(way->kind());
    const auto* const tunnels = dynamic_cast<const TunnelTransport*>(way.get());
    if (!tunnels || layer == layers_.end()) continue;
    for (const std::string& uuid : uuids) {
      DomainRecord* const record = domain(uuid);
      if (!record) continue;
      layer->second->order(record->tunnel_order(*tunnels, ways_, policy_));
      if (tunnels->last_resort() && record->awaits_better() && !record->better_timeout)
        record->better_timeout = after(better_grace, [this, uuid] {
          if (DomainRecord* const waiting = domain(uuid)) waiting->await_no_longer();
          reconcile({uuid});
        });
    }
  }
}

// All that an earlier daemon ordered and this one wants has been ordered again.
void Reconciler::layers_settled() {
  for (const auto& [kind, layer] : layers_)
    layer->settled();
}

void Reconciler::tunnels_changed(Transport kind, const std::string& uuid) {
  DomainRecord* const record = domain(uuid);
  if (!record) return;
  const TunnelLayer& layer = *layers_.at(kind);
  record->set_tunnels(kind, layer.ends(uuid), layer.refusals(uuid));
  reconcile({uuid});
}

// What goes, goes before the relay is told anything: whoever connects meanwhile meets the relay.
void Reconciler::shrink_offloads(const Uuids& uuids, const Plan& plan) {
  std::set<std::string_view> leaving(plan.remove.begin(), plan.remove.end());
  leaving.insert(plan.withdraw.begin(), plan.withdraw.end());
  for (const DesiredForward& forward : plan.bind)
    leaving.insert(forward.key);
  Offloads::Wanted wanted;
  for (const std::string& uuid : uuids) {
    const auto found = records_.find(uuid);
    if (found == records_.end()) continue;
    std::set<std::string> ids;
    for (const auto& [id, forward] : found->second.bound)
      if (leaving.contains(forward.actual.key)) ids.insert(id);
    wanted.merge(found->second.wanted_offloads(offloads_, ways_, policy_, ids));
  }
  offloads_.shrink(uuids, wanted);
}

void Reconciler::grow_offloads(const Uuids& uuids) {
  Offloads::Wanted wanted;
  for (const std::string& uuid : uuids) {
    const auto found = records_.find(uuid);
    if (found != records_.end())
      wanted.merge(found->second.wanted_offloads(offloads_, ways_, policy_, {}));
  }
  offloads_.grow(wanted);
}

// The way that one of its forwards takes is another one, or none.
void Reconciler::refresh_offloads(const std::string& uuid) {
  shrink_offloads({uuid}, {});
  grow_offloads({uuid});
  publish({uuid});
}

}  // namespace vf
