// SPDX-License-Identifier: LGPL-2.1-or-later

#include "daemon/forward_editor.h"

#include <algorithm>
#include <map>
#include <set>

#include "base/printable.h"
#include "core/forward_entry.h"

namespace vf {
namespace {

constexpr std::size_t most_process_bytes = 255;

Unexpected no_such_domain(const std::string& uuid) {
  return Unexpected(ErrorCode::no_such_domain, "no domain with UUID " + uuid);
}

Result<MetadataTarget> target_of(const DomainSnapshot& domain, EditScope scope) {
  const bool any = scope.live || scope.config || scope.persistent;
  MetadataTarget target;
  target.live = scope.live || !any || (scope.persistent && domain.active);
  target.config = scope.config || scope.persistent;
  if (target.live && !domain.active)
    return Unexpected(ErrorCode::domain_not_running,
                      "domain \"" + domain.name +
                          "\" is not running: use --config to change what its next start uses");
  if (target.config && !domain.persistent)
    return Unexpected(
        ErrorCode::invalid_argument,
        "domain \"" + domain.name + "\" is transient and has no configuration: use --live");
  return target;
}

// Why the host policy or this version does not serve one of these forwards (of_entry()), behind
// those that are there already.
std::optional<Error> refusal(std::vector<ForwardDefinition> there,
                             const std::vector<ForwardDefinition>& added, const Policy& policy) {
  std::map<std::string, std::size_t> entries;
  for (const ForwardDefinition& definition : added)
    entries.emplace(definition.identity(), entries.size());
  there.insert(there.end(), added.begin(), added.end());
  const std::vector<SingleForward> all = expand(there, policy);
  for (const SingleForward& single : all) {
    const auto entry = entries.find(single.definition);
    // Of those that are there the limit alone stands against others.
    const bool limit = &single == &all.back() && all.size() > policy.forwards_per_domain;
    if (!single.refused || single.refused == ForwardState::disabled) continue;
    if (entry == entries.end() && !limit) continue;
    return of_entry(
        {single.refused == ForwardState::denied ? ErrorCode::not_allowed : ErrorCode::not_supported,
         single.reason},
        entry == entries.end() ? 0 : entry->second);
  }
  return std::nullopt;
}

// The views of each definition, by its identity.
Controller::Added views_of(std::vector<ForwardView> views,
                           const std::vector<std::string>& identities) {
  std::map<std::string_view, std::size_t> entries;
  for (const std::string& identity : identities)
    entries.emplace(identity, entries.size());
  Controller::Added sorted(identities.size());
  for (ForwardView& view : views)
    if (const auto entry = entries.find(view.definition); entry != entries.end())
      sorted[entry->second].push_back(std::move(view));
  return sorted;
}

std::vector<std::string> identities_of(const std::vector<ForwardDefinition>& definitions) {
  std::vector<std::string> identities;
  for (const ForwardDefinition& definition : definitions)
    identities.push_back(definition.identity());
  return identities;
}

bool has_identity(const Definitions& definitions, const std::string& identity) {
  return std::ranges::any_of(definitions.forwards, [&](const ForwardDefinition& definition) {
    return definition.identity() == identity;
  });
}

// Which sides of the target have the definition.
MetadataTarget holders_of(const DomainRecord& domain, const std::optional<std::string>& identity,
                          MetadataTarget target) {
  return {target.live && identity && has_identity(domain.live(), *identity),
          target.config && identity && has_identity(domain.config(), *identity)};
}

LaneStatistics lane_statistics(const RelayLaneStatistics& told) {
  LaneStatistics lane{told.bulk ? "bulk" : "swift", 0, told.microseconds, {}};
  for (std::size_t i = 0; i < told.rounds.size(); ++i) {
    lane.rounds += told.rounds[i];
    if (i < RelayLaneStatistics::bounds.size())
      lane.within.emplace_back(RelayLaneStatistics::bounds[i], lane.rounds);
  }
  return lane;
}

}  // namespace

void ForwardEditor::write(const std::string& uuid, MetadataTarget target, LibvirtHost::Edit edit,
                          std::function<void(Result<void>)> done) {
  libvirt_.edit_metadata(uuid, target, std::move(edit),
                         [this, done = std::move(done)](Result<void> result) {
                           if (!result) return done(std::move(result));
                           reconciler_.when_applied([done] { done({}); });
                         });
}

void ForwardEditor::when_known(const std::string& uuid, EditScope scope,
                               std::function<void()> edit) {
  const DomainRecord* domain = reconciler_.domain(uuid);
  const bool config_only = scope.config && !scope.live && !scope.persistent;
  if (config_only) return edit();
  if (domain && domain->snapshot().active) return reconciler_.when_relay_answered(std::move(edit));
  catch_up(std::move(edit));
}

void ForwardEditor::catch_up(std::function<void()> done) {
  libvirt_.catch_up([this, done = std::move(done)] { reconciler_.when_relay_answered(done); });
}

void ForwardEditor::settle(std::function<void()> done) {
  if (table_.libvirt_connected()) return reconciler_.when_relay_answered(std::move(done));
  catch_up(std::move(done));
}

void ForwardEditor::add_forwards(const std::string& uuid,
                                 const std::vector<ForwardAttributes>& forwards, EditScope scope,
                                 std::function<void(Result<Added>)> done) {
  when_known(uuid, scope, [=, this] { add_now(uuid, forwards, scope, done); });
}

void ForwardEditor::remove_forward(const std::string& uuid, const std::string& forward,
                                   EditScope scope, bool drain,
                                   std::function<void(Result<void>)> done) {
  when_known(uuid, scope, [=, this] { remove_now(uuid, forward, scope, drain, done); });
}

void ForwardEditor::try_forwards(const std::string& uuid,
                                 const std::vector<ForwardAttributes>& forwards, EditScope scope,
                                 std::function<void(Result<Added>)> done) {
  when_known(uuid, scope, [=, this] {
    const auto wanted = additions(uuid, forwards, scope);
    if (!wanted) return done(Unexpected(wanted.error()));
    auto tried = reconciler_.try_out(*wanted->domain, wanted->definitions, wanted->target.live);
    if (!tried) return done(Unexpected(std::move(tried).error()));
    done(views_of(*std::move(tried), identities_of(wanted->definitions)));
  });
}

// Metadata is not written by halves: what would stop the writing is found here.
Result<ForwardEditor::Additions> ForwardEditor::additions(
    const std::string& uuid, const std::vector<ForwardAttributes>& forwards, EditScope scope) {
  DomainRecord* domain = reconciler_.domain(uuid);
  if (!domain) return no_such_domain(uuid);
  std::vector<ForwardDefinition> definitions;
  for (const ForwardAttributes& attributes : forwards) {
    auto definition = parse_forward(attributes);
    if (!definition) return Unexpected(of_entry(std::move(definition).error(), definitions.size()));
    definitions.push_back(*std::move(definition));
  }
  const DomainSnapshot& snapshot = domain->snapshot();
  const auto target = target_of(snapshot, scope);
  if (!target) return Unexpected(target.error());
  for (const bool live : {true, false}) {
    if (live ? !target->live : !target->config) continue;
    const Definitions& there = live ? domain->live() : domain->config();
    const std::vector<std::string> listed = identities_of(there.forwards);
    const std::set<std::string> known(listed.begin(), listed.end());
    for (std::size_t entry = 0; entry < definitions.size(); ++entry)
      if (const std::string identity = definitions[entry].identity(); known.contains(identity))
        return Unexpected(
            of_entry({ErrorCode::invalid_argument,
                      "domain \"" + snapshot.name + "\" already has the forward \"" + identity +
                          "\": remove it first, or give this one another --name"},
                     entry));
    if (auto refused = refusal(there.forwards, definitions, reconciler_.policy()))
      return Unexpected(*std::move(refused));
    // What the edit will find wrong is found here, before anybody sees a forward come and go.
    const auto possible =
        with_forwards_added(live ? snapshot.live_metadata : snapshot.config_metadata, definitions);
    if (!possible) return Unexpected(possible.error());
  }
  return Additions{domain, std::move(definitions), *target};
}

void ForwardEditor::add_now(const std::string& uuid, const std::vector<ForwardAttributes>& forwards,
                            EditScope scope, std::function<void(Result<Added>)> done) {
  const auto wanted = additions(uuid, forwards, scope);
  if (!wanted) return done(Unexpected(wanted.error()));
  if (forwards.empty()) return done(Added());
  if (wanted->target.live) {
    // Nobody sees some of them come and go because another one cannot be had.
    if (auto possible = reconciler_.try_out(*wanted->domain, wanted->definitions, true); !possible)
      return done(Unexpected(std::move(possible).error()));
    if (auto bound = reconciler_.want(*wanted->domain, wanted->definitions); !bound)
      return done(Unexpected(bound.error()));
  }

  const auto edit = [definitions = wanted->definitions](const std::string& element) {
    return with_forwards_added(element, definitions);
  };
  write(
      uuid, wanted->target, edit,
      [this, uuid, definitions = wanted->definitions, done = std::move(done)](Result<void> result) {
        if (result) return done(views_of(table_.forwards(uuid), identities_of(definitions)));
        if (DomainRecord* record = reconciler_.domain(uuid))
          reconciler_.stop_wanting(*record, definitions);
        done(Unexpected(std::move(result).error()));
      });
}

void ForwardEditor::change_forward(const std::string& uuid, const std::string& forward,
                                   const ForwardAttributes& attributes, EditScope scope,
                                   std::function<void(Result<std::vector<ForwardView>>)> done) {
  when_known(uuid, scope, [=, this] { change_now(uuid, forward, attributes, scope, done); });
}

void ForwardEditor::change_now(const std::string& uuid, const std::string& forward,
                               const ForwardAttributes& attributes, EditScope scope,
                               std::function<void(Result<std::vector<ForwardView>>)> done) {
  DomainRecord* domain = reconciler_.domain(uuid);
  if (!domain) return done(no_such_domain(uuid));
  const auto identity = domain->definition_of(forward);
  const auto target = target_of(domain->snapshot(), scope);
  if (!target) return done(Unexpected(target.error()));
  const MetadataTarget holding = holders_of(*domain, identity, *target);
  if (!holding.live && !holding.config)
    return done(Unexpected(ErrorCode::no_such_forward, "domain \"" + domain->snapshot().name +
                                                           "\" has no definition of a forward \"" +
                                                           forward + '"'));
  std::string after;
  for (const bool live : {false, true}) {
    if (live ? !holding.live : !holding.config) continue;
    const DomainSnapshot& snapshot = domain->snapshot();
    const auto changed = with_forward_changed(
        live ? snapshot.live_metadata : snapshot.config_metadata, *identity, attributes);
    if (!changed) return done(Unexpected(changed.error()));
    if (auto refused = refusal({}, {changed->forward}, reconciler_.policy())) {
      take_entry(*refused);
      return done(Unexpected(*std::move(refused)));
    }
    if (live)
      if (auto possible = reconciler_.try_change(*domain, *identity, changed->forward); !possible)
        return done(Unexpected(std::move(possible).error()));
    after = changed->forward.identity();
  }
  const auto edit = [identity = *identity, attributes](const std::string& element) {
    auto changed = with_forward_changed(element, identity, attributes);
    return changed ? Result<std::string>(std::move(changed->xml))
                   : Result<std::string>(Unexpected(changed.error()));
  };
  write(uuid, holding, edit, [this, uuid, after, done = std::move(done)](Result<void> result) {
    if (result) return done(views_of(table_.forwards(uuid), {after}).front());
    done(Unexpected(std::move(result).error()));
  });
}

void ForwardEditor::remove_now(const std::string& uuid, const std::string& forward, EditScope scope,
                               bool drain, std::function<void(Result<void>)> done) {
  DomainRecord* domain = reconciler_.domain(uuid);
  if (!domain) return done(no_such_domain(uuid));
  const auto identity = domain->definition_of(forward);
  const auto target = target_of(domain->snapshot(), scope);
  if (!target) return done(Unexpected(target.error()));
  // With both, a forward that is only in one of them is removed from there.
  const MetadataTarget holding = holders_of(*domain, identity, *target);
  if (forward.starts_with(automatic_prefix) && identity && !holding.live && !holding.config)
    return done(Unexpected(ErrorCode::not_supported,
                           "the forward \"" + forward +
                               "\" is automatic, as long as the guest listens there: "
                               "virt-forward block " +
                               domain->snapshot().name + " PORT ends it"));
  if (!holding.live && !holding.config) {
    const bool elsewhere = identity && has_identity(domain->config(), *identity);
    return done(
        Unexpected(ErrorCode::no_such_forward,
                   "domain \"" + domain->snapshot().name + "\" has no forward \"" + forward + '"' +
                       (elsewhere ? " while it runs: use --config for the one of its next start"
                                  : ": see virt-forward list " + domain->snapshot().name)));
  }
  std::vector<std::string> draining;
  if (drain && holding.live)
    for (const auto& [id, bound] : domain->bound)
      if (domain->definition_of(id) == identity) draining.push_back(id);
  domain->draining.insert(draining.begin(), draining.end());
  write(
      uuid, holding,
      [identity = *identity](const std::string& element) {
        return with_forward_removed(element, identity);
      },
      [this, uuid, draining, done = std::move(done)](Result<void> result) {
        // What was to drain and stays is cut when it is removed another day.
        if (DomainRecord* record = reconciler_.domain(uuid); record && !result)
          for (const std::string& id : draining)
            record->draining.erase(id);
        done(std::move(result));
      });
}

void ForwardEditor::block(const std::string& uuid, Protocol protocol, PortRange ports,
                          EditScope scope, std::function<void(Result<void>)> done) {
  const auto edit = [=](const std::string& element) {
    return with_block_added(element, protocol, ports);
  };
  when_known(uuid, scope, [=, this] { edit_automatic(uuid, scope, edit, {}, done); });
}

void ForwardEditor::unblock(const std::string& uuid, Protocol protocol, PortRange ports,
                            EditScope scope, std::function<void(Result<void>)> done) {
  const auto edit = [=](const std::string& element) {
    return with_block_removed(element, protocol, ports);
  };
  const Error nothing{ErrorCode::no_such_forward,
                      std::string(text(protocol)) + " port " + ports.text() +
                          " is not blocked by \"virt-forward block\"; a rule of the metadata that "
                          "blocks it is edited there (virsh edit)"};
  when_known(uuid, scope, [=, this] { edit_automatic(uuid, scope, edit, nothing, done); });
}

void ForwardEditor::set_automatic(const std::string& uuid, AutoMode mode, EditScope scope,
                                  std::function<void(Result<void>)> done) {
  const auto edit = [=](const std::string& element) { return with_automatic(element, mode); };
  when_known(uuid, scope, [=, this] { edit_automatic(uuid, scope, edit, {}, done); });
}

void ForwardEditor::allow(const std::string& uuid, Protocol protocol, PortRange ports,
                          const std::string& process, EditScope scope,
                          std::function<void(Result<void>)> done) {
  if (process.size() > most_process_bytes || printable(process) != process)
    return done(Unexpected(ErrorCode::invalid_argument, "process \"" + printable(process, 80) +
                                                            "\": allowed are names of at most " +
                                                            std::to_string(most_process_bytes) +
                                                            " bytes without control characters"));
  if (!process.empty() && ports.width() != 1)
    return done(Unexpected(ErrorCode::invalid_argument,
                           "a process is allowed by one port that it has open, not by a range"));
  if (process.empty() && !scope.config && !scope.persistent) scope.live = true;
  when_known(uuid, scope, [=, this] {
    const DomainRecord* domain = reconciler_.domain(uuid);
    if (!domain) return done(no_such_domain(uuid));
    const auto asking = domain->asking_rule(protocol, ports, process);
    // Without the question it is not known how far the answer would go.
    if (!process.empty() && !asking)
      return done(Unexpected(ErrorCode::no_such_forward,
                             "no rule asks about " + std::string(text(protocol)) + " port " +
                                 ports.text() + " of process \"" + process +
                                 "\": virt-forward auto " + domain->snapshot().name +
                                 " shows what is asking"));
    const AutoRule rule = allowing_rule(asking ? &*asking : nullptr, protocol, ports, process);
    const auto edit = [=](const std::string& element) {
      return with_allow_added(element, rule, ports, asking ? &*asking : nullptr);
    };
    edit_automatic(uuid, scope, edit, {}, done);
  });
}

void ForwardEditor::disallow(const std::string& uuid, Protocol protocol, PortRange ports,
                             const std::string& process, EditScope scope,
                             std::function<void(Result<void>)> done) {
  const Error nothing{
      ErrorCode::no_such_forward,
      (process.empty() ? std::string(text(protocol)) + " port " + ports.text()
                       : "process \"" + printable(process, 80) + '"') +
          " is not allowed by \"virt-forward allow\"; a rule of the metadata that forwards it is "
          "edited there (virsh edit)"};
  when_known(uuid, scope, [=, this] {
    const DomainRecord* domain = reconciler_.domain(uuid);
    if (!domain) return done(no_such_domain(uuid));
    TakenBack what{protocol, ports, process, {}};
    if (process.empty()) what.rules = domain->allowing_rules(protocol, ports);
    const auto edit = [what = std::move(what)](const std::string& element) {
      return with_allow_removed(element, what);
    };
    edit_automatic(uuid, scope, edit, nothing, done);
  });
}

void ForwardEditor::edit_automatic(const std::string& uuid, EditScope scope, LibvirtHost::Edit edit,
                                   Error nothing, std::function<void(Result<void>)> done) {
  DomainRecord* domain = reconciler_.domain(uuid);
  if (!domain) return done(no_such_domain(uuid));
  const DomainSnapshot& snapshot = domain->snapshot();
  if (!scope.live && !scope.config && !scope.persistent) {
    scope.live = snapshot.active;
    scope.config = snapshot.persistent;
  }
  const auto target = target_of(snapshot, scope);
  if (!target) return done(Unexpected(target.error()));
  auto changed = std::make_shared<bool>(false);
  const LibvirtHost::Edit noting = [edit = std::move(edit), changed](const std::string& before) {
    auto after = edit(before);
    if (after && *after != before) *changed = true;
    return after;
  };
  write(uuid, *target, noting, [=](Result<void> result) {
    if (result && !*changed && !nothing.message.empty()) return done(Unexpected(nothing));
    done(std::move(result));
  });
}

void ForwardEditor::metadata(const std::string& uuid, EditScope scope,
                             std::function<void(Result<std::string>)> done) {
  when_known(uuid, scope, [=, this] {
    const DomainRecord* domain = reconciler_.domain(uuid);
    if (!domain) return done(no_such_domain(uuid));
    const DomainSnapshot& snapshot = domain->snapshot();
    EditScope one = scope;
    if (!one.live && !one.config && !one.persistent)
      (snapshot.active ? one.live : one.config) = true;
    const auto target = target_of(snapshot, one);
    if (!target) return done(Unexpected(target.error()));
    if (one.persistent || (target->live && target->config))
      return done(Unexpected(ErrorCode::invalid_argument, "one of them at a time: live or config"));
    done(target->live ? snapshot.live_metadata : snapshot.config_metadata);
  });
}

void ForwardEditor::counters(const std::string& uuid, const std::string& id,
                             std::function<void(Result<ForwardCounters>)> done) {
  all_counters([uuid, id, done = std::move(done)](Result<std::vector<Counted>> counted) {
    if (!counted) return done(Unexpected(std::move(counted).error()));
    for (const Counted& one : *counted)
      if (one.uuid == uuid && one.id == id) return done(one.counters);
    done(Unexpected(ErrorCode::not_supported, "nothing counts the bytes of this forward"));
  });
}

void ForwardEditor::all_counters(std::function<void(Result<std::vector<Counted>>)> done) {
  relay_.statistics([this, done = std::move(done)](Result<Relay::Statistics> statistics) {
    if (!statistics) return done(Unexpected(std::move(statistics).error()));
    const auto past = reconciler_.offloads().connections();
    std::vector<Counted> counted;
    for (auto& [key, values] : statistics->counters) {
      const auto parts = split_key(key);
      if (!parts) continue;
      if (const auto found = past.find(key); found != past.end()) {
        values.connections += found->second;
        values.bytes_in.reset();
        values.bytes_out.reset();
      }
      counted.push_back({parts->first, parts->second, values});
    }
    done(std::move(counted));
  });
}

void ForwardEditor::statistics(std::function<void(const DaemonStatistics&)> done) {
  relay_.statistics([this, done = std::move(done)](const Result<Relay::Statistics>& told) {
    DaemonStatistics statistics;
    statistics.guest_reports_slowed = reconciler_.guest_reports_slowed();
    statistics.guest_ports_left_out = reconciler_.guest_ports_left_out();
    if (told && !told->lanes.empty()) {
      statistics.connections_refused = 0;
      statistics.datagrams_lost = 0;
      for (const RelayLaneStatistics& lane : told->lanes) {
        statistics.lanes.push_back(lane_statistics(lane));
        *statistics.connections_refused += lane.refused;
        *statistics.datagrams_lost += lane.lost;
      }
    }
    done(statistics);
  });
}

}  // namespace vf
