// SPDX-License-Identifier: LGPL-2.1-or-later
//
// Reconciler: what somebody waits for an answer to: a start that is being prepared, and edits.

#include <algorithm>
#include <utility>

#include "daemon/reconciler.h"

namespace vf {
namespace {

constexpr std::chrono::seconds reservation_time{60};

}  // namespace

// --- a start that is being prepared --------------------------------------------------------------

Result<void> Reconciler::reserve(const std::string& uuid, const std::string& name,
                                 const std::string& element) {
  DomainRecord& record = records_.try_emplace(uuid, uuid).first->second;
  ParsedDefinitions parsed = parse_definitions(element);
  record.reserve(name, parsed.definitions.forwards, policy_);
  reconcile({uuid});
  record.reservation_timeout = after(reservation_time, [this, uuid] { release(uuid); });

  if (!parsed.errors.empty())
    return Unexpected(
        ErrorCode::invalid_argument,
        "the forwards of the domain are not all valid: " + parsed.errors.front().text());
  for (const ForwardView& forward : record.forward_views(ways_, policy_, offloads_)) {
    const auto required =
        std::ranges::any_of(parsed.definitions.forwards, [&](const ForwardDefinition& definition) {
          return definition.required && definition.enabled &&
                 definition.identity() == forward.definition;
        });
    if (required && !record.bound.contains(forward.id))
      return Unexpected(ErrorCode::failed,
                        "required forward \"" + forward.id + "\": " + forward.reason);
  }
  for (const ForwardDefinition& forward : parsed.definitions.forwards)
    if (forward.required && forward.enabled && forward.transport == Transport::ssh)
      if (auto account = ssh_account(parsed.definitions.ssh, policy_); !account)
        return Unexpected(ErrorCode::failed, "required forward \"" + forward.identity() +
                                                 "\": " + account.error().message);
  return {};
}

void Reconciler::release(const std::string& uuid) {
  const auto found = records_.find(uuid);
  if (found == records_.end()) return;
  found->second.release_reservation();
  reconcile({uuid});
  if (!found->second.known()) records_.erase(found);
}

// --- edits ---------------------------------------------------------------------------------------

Result<std::vector<ForwardView>> Reconciler::want(DomainRecord& domain,
                                                  const ForwardDefinition& definition) {
  const std::string identity = definition.identity();
  domain.add_pending(definition, policy_);
  reconcile({domain.snapshot().uuid});

  std::vector<ForwardView> views;
  for (ForwardView& view : domain.forward_views(ways_, policy_, offloads_))
    if (view.definition == identity && view.live) views.push_back(std::move(view));
  for (const ForwardView& view : views) {
    const auto code = view.state == ForwardState::port_busy ? ErrorCode::port_busy
                      : view.state == ForwardState::denied  ? ErrorCode::not_allowed
                                                            : ErrorCode::not_supported;
    const bool impossible = view.state == ForwardState::failed && !view.ways.empty() &&
                            definition.transport != Transport::automatic && !view.transport;
    const bool kept = domain.bound.contains(view.id) || view.state == ForwardState::disabled;
    if (kept && !impossible) continue;
    const auto failure = domain.failures.find(view.id);
    Error error =
        failure == domain.failures.end() ? Error{code, view.reason} : failure->second.error;
    stop_wanting(domain, identity);
    return Unexpected(std::move(error));
  }
  return views;
}

// take_from_guess() would hand the port over.
bool Reconciler::guess_has(const HostClaim& claim) const {
  if (!claim.port || claim.guess) return false;
  for (const auto& [uuid, record] : records_)
    for (const auto& [id, held] : record.bound)
      if (const HostClaim& of = held.actual.claim; of.guess && held.actual.port == claim.port &&
                                                   of.protocol == claim.protocol &&
                                                   of.addresses == claim.addresses)
        return true;
  return false;
}

Result<std::vector<ForwardView>> Reconciler::try_out(const DomainRecord& domain,
                                                     const ForwardDefinition& definition,
                                                     bool live) {
  std::vector<ForwardView> views;
  std::vector<BoundPort> tried;  // until all of them are: no two get the same port
  for (const SingleForward& single : expand({definition}, policy_)) {
    ForwardView view;
    view.uuid = domain.snapshot().uuid;
    view.domain = domain.snapshot().name;
    view.id = single.id;
    view.definition = single.definition;
    view.requested_port = single.claim.port;
    if (live && !single.refused) {
      if (std::string reason = domain.impossible(single, ways_, policy_); !reason.empty())
        return Unexpected(ErrorCode::not_supported, std::move(reason));
      if (guess_has(single.claim)) {
        view.host_port = single.claim.port;
      } else {
        const auto hint = hints_.find(domain.key(single.id), domain.snapshot().id);
        const bool same =
            hint && hint->requested == single.claim.port && hint->protocol == single.claim.protocol;
        auto bound = allocate(single.claim, same ? std::optional(hint->port) : std::nullopt,
                              policy_, binder_);
        if (!bound) {
          const std::string holder =
              bound.error().code == ErrorCode::port_busy ? holder_of(single.claim) : std::string();
          if (holder.empty()) return Unexpected(std::move(bound).error());
          return Unexpected(
              ErrorCode::port_busy,
              "port " + std::to_string(single.claim.port->number()) + " is held by " + holder);
        }
        view.host_port = bound->port;
        tried.push_back(*std::move(bound));
      }
    }
    views.push_back(std::move(view));
  }
  return views;
}

void Reconciler::stop_wanting(DomainRecord& domain, const std::string& identity) {
  domain.drop_pending(identity, policy_);
  reconcile({domain.snapshot().uuid});
}

void Reconciler::metadata_written(DomainRecord& domain, MetadataTarget target,
                                  const std::string& element, std::function<void()> applied) {
  DomainSnapshot snapshot = domain.snapshot();
  if (target.live) snapshot.live_metadata = element;
  if (target.config) snapshot.config_metadata = element;
  domain_changed(snapshot);
  if (relay_ && relay_->ready())
    relay_->commit(std::move(applied));
  else
    applied();
}

}  // namespace vf
