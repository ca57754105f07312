// SPDX-License-Identifier: LGPL-2.1-or-later
//
// Reconciler: what somebody waits for an answer to: a start that is being prepared, and edits.

#include <algorithm>
#include <utility>

#include "core/forward_entry.h"
#include "daemon/reconciler.h"

namespace vf {
namespace {

constexpr std::chrono::seconds reservation_time{60};

// Whether a socket at one of those addresses keeps another at this one from the same port.
bool covered(const IpAddress& address, const std::vector<IpAddress>& held) {
  return std::ranges::any_of(held, [&](const IpAddress& one) {
    return one == address ||
           (one.is_v4() == address.is_v4() && (one.is_wildcard() || address.is_wildcard()));
  });
}

// What is tried out, and what it would get.
struct Tried {
  SingleForward forward;
  BoundPort bound;
};

// A busy port by the name of the forward tried out before that has it, where one has.
Error named_sibling(Error error, const HostClaim& claim, const std::vector<Tried>& tried) {
  if (error.code != ErrorCode::port_busy || !claim.port) return error;
  const auto has_it = [&](const Tried& one) {
    const HostClaim& its = one.forward.claim;
    return one.bound.port == claim.port && its.protocol == claim.protocol &&
           std::ranges::any_of(claim.addresses, [&](const IpAddress& address) {
             return covered(address, its.addresses);
           });
  };
  if (const auto found = std::ranges::find_if(tried, has_it); found != tried.end())
    error.message = "port " + std::to_string(claim.port->number()) + " is held by the forward \"" +
                    found->forward.id + "\", which is to be added with it";
  return error;
}

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

Result<std::vector<ForwardView>> Reconciler::want(
    DomainRecord& domain, const std::vector<ForwardDefinition>& definitions) {
  std::map<std::string, std::size_t> entries;
  for (std::size_t entry = 0; entry < definitions.size(); ++entry)
    entries.emplace(definitions[entry].identity(), entry);
  domain.add_pending(definitions, policy_);
  reconcile({domain.snapshot().uuid});

  std::vector<ForwardView> views;
  for (ForwardView& view : domain.forward_views(ways_, policy_, offloads_))
    if (view.live && entries.contains(view.definition)) views.push_back(std::move(view));
  for (const ForwardView& view : views) {
    const std::size_t entry = entries.at(view.definition);
    const auto code = view.state == ForwardState::port_busy ? ErrorCode::port_busy
                      : view.state == ForwardState::denied  ? ErrorCode::not_allowed
                                                            : ErrorCode::not_supported;
    const bool impossible = view.state == ForwardState::failed && !view.ways.empty() &&
                            definitions[entry].transport != Transport::automatic && !view.transport;
    const bool kept = domain.bound.contains(view.id) || view.state == ForwardState::disabled;
    if (kept && !impossible) continue;
    const auto failure = domain.failures.find(view.id);
    Error error =
        failure == domain.failures.end() ? Error{code, view.reason} : failure->second.error;
    stop_wanting(domain, definitions);
    return Unexpected(of_entry(std::move(error), entry));
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

// A busy port by the name of the forward of ours that has it, where one has.
Error Reconciler::named_holder(Error error, const HostClaim& claim) const {
  const std::string holder = error.code == ErrorCode::port_busy ? holder_of(claim) : std::string();
  if (!holder.empty())
    error.message = "port " + std::to_string(claim.port->number()) + " is held by " + holder;
  return error;
}

Result<BoundPort> Reconciler::try_port(const DomainRecord& domain, const SingleForward& single) {
  if (guess_has(single.claim)) return BoundPort{single.claim.port, {}, {}};
  const auto hint = hints_.find(domain.key(single.id), domain.snapshot().id);
  const bool same =
      hint && hint->requested == single.claim.port && hint->protocol == single.claim.protocol;
  auto bound =
      allocate(single.claim, same ? std::optional(hint->port) : std::nullopt, policy_, binder_);
  if (!bound) return Unexpected(named_holder(std::move(bound).error(), single.claim));
  return bound;
}

Result<std::vector<ForwardView>> Reconciler::try_out(
    const DomainRecord& domain, const std::vector<ForwardDefinition>& definitions, bool live) {
  std::vector<ForwardView> views;
  std::vector<Tried> tried;  // until all of them are: no two get the same port
  for (std::size_t entry = 0; entry < definitions.size(); ++entry)
    for (const SingleForward& single : expand({definitions[entry]}, policy_)) {
      ForwardView view;
      view.uuid = domain.snapshot().uuid;
      view.domain = domain.snapshot().name;
      view.id = single.id;
      view.definition = single.definition;
      view.requested_port = single.claim.port;
      if (live && !single.refused) {
        if (std::string reason = domain.impossible(single, ways_, policy_); !reason.empty())
          return Unexpected(of_entry({ErrorCode::not_supported, std::move(reason)}, entry));
        auto bound = try_port(domain, single);
        if (!bound)
          return Unexpected(
              of_entry(named_sibling(std::move(bound).error(), single.claim, tried), entry));
        view.host_port = bound->port;
        tried.push_back({single, *std::move(bound)});
      }
      views.push_back(std::move(view));
    }
  return views;
}

Result<void> Reconciler::try_instead(const DomainRecord& domain, const SingleForward& single,
                                     const Own& own, std::vector<BoundPort>& tried) {
  const HostClaim& claim = single.claim;
  const auto uncovered = [&](const BoundForward& held) {
    HostClaim rest = claim;
    if (held.actual.claim.protocol == claim.protocol)
      std::erase_if(rest.addresses, [&](const IpAddress& address) {
        return covered(address, held.addresses) || covered(address, held.actual.claim.addresses);
      });
    return rest;
  };
  if (const auto held = claim.port ? own.find(*claim.port) : own.end(); held != own.end())
    if (const HostClaim rest = uncovered(*held->second); rest.addresses != claim.addresses) {
      if (rest.addresses.empty()) return {};
      auto bound = binder_.bind(rest, claim.port);
      // That the host has no ::1 is found where it is bound together with 127.0.0.1.
      if (!bound && claim.default_addresses && bound.error().code == ErrorCode::failed) return {};
      if (!bound && claim.on_busy == OnBusy::fail)
        return Unexpected(named_holder(std::move(bound).error(), rest));
      if (bound) {
        tried.push_back(*std::move(bound));
        return {};
      }
    }
  auto bound = try_port(domain, single);
  if (bound) {
    tried.push_back(*std::move(bound));
    return {};
  }
  // Where it may move, it may move to one of its own, which may be all that the policy allows.
  const bool may_move = claim.socket.empty() && (!claim.port || claim.on_busy != OnBusy::fail);
  if (may_move && bound.error().code == ErrorCode::port_busy && !own.empty() &&
      uncovered(*own.begin()->second).addresses.empty())
    return {};
  return Unexpected(std::move(bound).error());
}

Result<void> Reconciler::try_change(const DomainRecord& domain, const std::string& identity,
                                    const ForwardDefinition& changed) {
  const auto& forwards = domain.live().forwards;
  const auto present = std::ranges::find_if(
      forwards, [&](const ForwardDefinition& forward) { return forward.identity() == identity; });
  // Until the relay has said what it holds, a port that it serves would look busy.
  if (present == forwards.end() || !relay_answered()) return {};
  const std::vector<SingleForward> before = expand({*present}, policy_);
  std::map<std::optional<Port>, const HostClaim*> asked;
  Own own;
  for (const SingleForward& single : before) {
    if (!single.refused) asked.emplace(single.claim.port, &single.claim);
    if (const auto held = domain.bound.find(single.id);
        held != domain.bound.end() && held->second.actual.port)
      own.emplace(*held->second.actual.port, &held->second);
  }
  std::vector<BoundPort> tried;  // until all of them are: no two get the same port
  for (const SingleForward& single : expand({changed}, policy_)) {
    if (single.refused) continue;
    if (std::string reason = domain.impossible(single, ways_, policy_);
        !reason.empty() &&
        (before.empty() || domain.impossible(before.front(), ways_, policy_) != reason))
      return Unexpected(ErrorCode::not_supported, std::move(reason));
    const auto same = asked.find(single.claim.port);
    if (same != asked.end() &&
        (*same->second == single.claim ||
         (!single.claim.socket.empty() && same->second->socket == single.claim.socket)))
      continue;
    if (auto possible = try_instead(domain, single, own, tried); !possible) return possible;
  }
  return {};
}

void Reconciler::stop_wanting(DomainRecord& domain,
                              const std::vector<ForwardDefinition>& definitions) {
  domain.drop_pending(definitions, policy_);
  reconcile({domain.snapshot().uuid});
}

void Reconciler::when_relay_answered(std::function<void()> done) {
  if (relay_answered()) return done();
  relay_waiting_.push_back(std::move(done));
}

void Reconciler::tell_relay_answered() {
  for (const auto& done : std::exchange(relay_waiting_, {}))
    done();
}

void Reconciler::when_applied(std::function<void()> applied) {
  if (relay_ && relay_->ready())
    relay_->commit(std::move(applied));
  else
    applied();
}

}  // namespace vf
