// SPDX-License-Identifier: LGPL-2.1-or-later

#include "daemon/domain_record.h"

#include <algorithm>
#include <unordered_map>

#include "glib/shell_word.h"

namespace vf {
namespace {

// Definitions by identity, for as long as they stand.
class IdentityIndex {
 public:
  explicit IdentityIndex(const std::vector<ForwardDefinition>& definitions) {
    for (const ForwardDefinition& definition : definitions)
      by_identity_.emplace(definition.identity(), &definition);
  }

  const ForwardDefinition* find(const std::string& identity) const {
    const auto found = by_identity_.find(identity);
    return found == by_identity_.end() ? nullptr : found->second;
  }

 private:
  std::unordered_map<std::string, const ForwardDefinition*> by_identity_;
};

std::vector<std::string> texts(const std::vector<DefinitionError>& errors, std::string_view where) {
  std::vector<std::string> lines;
  for (const DefinitionError& error : errors)
    lines.push_back(std::string(where) + error.text());
  return lines;
}

// What a connection that failed with this errno says about the guest.
void describe_failure(ForwardView& view, int error_number, const RelayEndpoint& guest) {
  if (error_number == ECONNREFUSED) {
    view.state = ForwardState::no_listener;
    view.reason = text(guest) + " refuses connections: nothing listens there in the guest";
  } else {
    view.state = ForwardState::failed;
    view.reason = system_error(error_number, "connect to " + text(guest)).message;
  }
}

}  // namespace

void DomainRecord::set_snapshot(const DomainSnapshot& snapshot, const Policy& policy) {
  const bool first = !std::exchange(known_, true);
  const bool live_changed = first || snapshot.live_metadata != snapshot_.live_metadata;
  const bool config_changed = first || snapshot.config_metadata != snapshot_.config_metadata;
  if (snapshot.active != snapshot_.active || snapshot.id != snapshot_.id) {
    failures.clear();
    better_awaited_ = snapshot.active;
    better_timeout.reset();
  }
  // Nothing of a run that is over satisfies a claim, neither of a next run (whose start may be all
  // that was seen of that end) nor of a start that is being prepared.
  if (snapshot_.active && snapshot.id != snapshot_.id) {
    for (auto& [id, forward] : bound)
      forward.actual.claim = {};
    guest_ports_.clear();
  }
  snapshot_ = snapshot;
  if (live_changed) live_ = parse_definitions(snapshot_.live_metadata);
  if (config_changed) config_ = parse_definitions(snapshot_.config_metadata);
  if (!snapshot_.active) {
    set_addresses({});
    addresses_told_ = false;
    pending_.clear();
  } else {
    release_reservation();
    const IdentityIndex live(live_.definitions.forwards);
    std::erase_if(pending_, [&](const ForwardDefinition& definition) {
      return live.find(definition.identity()) != nullptr;
    });
  }
  expand_wanted(policy);
}

void DomainRecord::set_addresses(std::vector<IpAddress> addresses) {
  addresses_ = std::move(addresses);
  addresses_told_ = true;
  assumption_timeout.reset();
}

void DomainRecord::assume_addresses(const std::vector<RelayEndpoint>& endpoints) {
  if (addresses_told_) return;
  for (const RelayEndpoint& endpoint : endpoints)
    if (const auto* inet = std::get_if<Endpoint>(&endpoint))
      if (!inet->address.is_loopback() &&
          std::ranges::find(addresses_, inet->address) == addresses_.end())
        addresses_.push_back(inet->address);
}

void DomainRecord::drop_assumed_addresses() {
  if (!addresses_told_) addresses_.clear();
}

void DomainRecord::set_policy(const Policy& policy) {
  expand_wanted(policy);
}

void DomainRecord::reserve(std::string name, std::vector<ForwardDefinition> definitions,
                           const Policy& policy) {
  if (!known_) snapshot_.name = std::move(name);
  reserved_ = std::move(definitions);
  expand_wanted(policy);
}

void DomainRecord::release_reservation() {
  reserved_.clear();
  reservation_timeout.reset();
  if (!snapshot_.active) wanted_.clear();
}

void DomainRecord::add_pending(const std::vector<ForwardDefinition>& definitions,
                               const Policy& policy) {
  pending_.insert(pending_.end(), definitions.begin(), definitions.end());
  expand_wanted(policy);
}

void DomainRecord::drop_pending(const std::vector<ForwardDefinition>& definitions,
                                const Policy& policy) {
  const IdentityIndex dropped(definitions);
  std::erase_if(pending_, [&](const ForwardDefinition& definition) {
    return dropped.find(definition.identity()) != nullptr;
  });
  expand_wanted(policy);
}

void DomainRecord::expand_wanted(const Policy& policy) {
  if (snapshot_.active) {
    std::vector<ForwardDefinition> all = live_.definitions.forwards;
    all.insert(all.end(), pending_.begin(), pending_.end());
    wanted_ = expand(all, policy);
    // A definition that takes the place of an automatic forward lets its connections end.
    std::erase_if(draining, [](const auto& id) { return id.starts_with(automatic_prefix); });
    for (const auto& [id, entry] : guest_ports_.entries()) {
      if (!entry.decision.forward) continue;
      if (served_by_definition(entry.port))
        draining.insert(entry.decision.forward->id);
      else
        wanted_.push_back(*entry.decision.forward);
    }
  } else {
    wanted_ = expand(reserved_, policy);
  }
  const IdentityIndex live(live_.definitions.forwards);
  std::vector<ForwardDefinition> rest;
  for (const ForwardDefinition& definition : config_.definitions.forwards)
    if (!snapshot_.active || !live.find(definition.identity())) rest.push_back(definition);
  config_only_ = expand(rest, policy);
}

std::optional<std::string> DomainRecord::definition_of(const std::string& forward) const {
  for (const auto* forwards : {&wanted_, &config_only_})
    for (const SingleForward& single : *forwards)
      if (single.id == forward || single.definition == forward) return single.definition;
  return std::nullopt;
}

std::vector<DesiredForward> DomainRecord::desired(Ways ways, const Policy& policy) const {
  const std::uint32_t most = policy.connections_per_forward;
  const GuestReach reached = reach(policy);
  std::vector<DesiredForward> result;
  for (const SingleForward& single : wanted_) {
    if (single.refused) continue;
    DesiredForward forward;
    forward.key = key(single.id);
    forward.claim = single.claim;
    forward.serve = snapshot_.active && snapshot_.serving;
    forward.withdraw = withdrawn(single);
    for (const Hop& hop : choose_route(ways, policy, reached, single.spec).route)
      forward.route.endpoints.push_back(hop.endpoint);
    forward.route.max_connections = std::min(single.spec.max_connections.value_or(most), most);
    forward.route.max_domain_connections = policy.connections_per_domain;
    forward.route.proxy_protocol = single.spec.proxy_protocol == ProxyProtocol::v2;
    forward.route.idle_timeout = single.spec.idle_timeout.value_or(0);
    result.push_back(std::move(forward));
  }
  return result;
}

DomainView DomainRecord::view(const Policy& policy) const {
  DomainView view;
  view.uuid = snapshot_.uuid;
  view.name = snapshot_.name;
  view.id = snapshot_.id;
  view.active = snapshot_.active;
  view.persistent = snapshot_.persistent;
  view.saved = snapshot_.saved;
  if (snapshot_.active) view.problems = texts(live_.errors, "");
  if (!snapshot_.active || config_.errors != live_.errors) {
    auto more = texts(config_.errors, snapshot_.active ? "next start: " : "");
    view.problems.insert(view.problems.end(), more.begin(), more.end());
  }
  view.addresses = addresses_;
  std::set<std::string> bridges;
  for (const GuestInterface& interface : snapshot_.interfaces)
    if (snapshot_.active && !interface.bridge.empty()) bridges.insert(interface.bridge);
  view.bridges.assign(bridges.begin(), bridges.end());
  describe_agent(view, policy);
  return view;
}

ForwardView DomainRecord::base_view(const SingleForward& forward) const {
  ForwardView view;
  view.domain = snapshot_.name;
  view.uuid = snapshot_.uuid;
  view.id = forward.id;
  view.definition = forward.definition;
  view.name = forward.spec.name;
  view.label = forward.spec.label;
  view.protocol = forward.spec.protocol;
  view.guest_address = forward.spec.guest_address;
  view.guest_port = forward.guest_port();
  if (const auto* socket = std::get_if<SocketPath>(&forward.spec.guest))
    view.guest_socket = socket->path;
  if (const auto* socket = std::get_if<SocketPath>(&forward.spec.host))
    view.host_socket = socket->path;
  view.requested_port = forward.claim.port;
  return view;
}

std::string DomainRecord::resume_command() const {
  return "virsh resume " + shell_word(snapshot_.name);
}

void DomainRecord::describe_state(ForwardView& view, const SingleForward& forward,
                                  const Judges& by) const {
  if (forward.refused) {
    view.state = *forward.refused;
    view.reason = forward.reason;
    return;
  }
  if (const auto failure = failures.find(forward.id); failure != failures.end()) {
    const Error& error = failure->second.error;
    view.state = error.code == ErrorCode::port_busy     ? ForwardState::port_busy
                 : error.code == ErrorCode::not_allowed ? ForwardState::denied
                                                        : ForwardState::failed;
    view.reason = error.message;
    view.next_retry = failure->second.next_try;
    return;
  }
  view.state = ForwardState::waiting;
  const auto held = bound.find(forward.id);
  if (held == bound.end()) {
    view.reason = "being set up";
    return;
  }
  view.host_addresses = held->second.addresses;
  view.host_port = held->second.actual.port;
  if (!forward.claim.socket.empty()) view.host_socket = forward.claim.socket;
  if (!snapshot_.active || !snapshot_.serving) {
    view.reason = "the domain does not run here yet";
    return;
  }
  if (withdrawn(forward)) {
    view.state = ForwardState::no_listener;
    view.reason = "the service has ended; its host port is kept for a few seconds";
    return;
  }
  const RouteChoice choice = choose_route(by.ways, by.policy, by.reach, forward.spec);
  describe_ways(view, forward, choice, by);
  if (choice.route.empty()) {
    view.reason = choice.missing();
    // Its address is not proven for long: somebody else may take it meanwhile.
    if (snapshot_.paused)
      view.reason = "the domain is paused: it is served when it is resumed (" + resume_command() +
                    "); now, " + view.reason;
    // What is asked for by name and can never be is no wait.
    if (forward.spec.transport != Transport::automatic &&
        choice.rejected.front().reason.code != ErrorCode::failed)
      view.state = ForwardState::failed;
    return;
  }
  const Hop& hop = choice.route[std::min(held->second.hop, choice.route.size() - 1)];
  view.transport = hop.transport;
  view.offload = by.offloads.applied(key(forward.id));
  const auto* inet = std::get_if<Endpoint>(&hop.endpoint);
  if (inet && hop.transport == Transport::tcp) view.guest_address = inet->address;
  if (held->second.failing != 0)
    return describe_failure(view, held->second.failing, choice.route.back().endpoint);
  if (std::string words = refusal(forward, hop.transport, by); !words.empty()) {
    const bool refused = words.find("refused") != std::string::npos;
    view.state = refused ? ForwardState::no_listener : ForwardState::failed;
    view.reason = std::string(text(hop.transport)) + ": " + words;
    return;
  }
  if (!held->second.actual.served) {
    view.reason = "the relay is not running";
    return;
  }
  if (says_nothing_listens(forward, by.reach)) {
    view.state = ForwardState::no_listener;
    view.reason = "the guest says that nothing listens on port " +
                  std::to_string(forward.guest_port()->number());
    return;
  }
  view.state = ForwardState::active;
  view.proven = held->second.proven;
  if (snapshot_.paused)
    view.reason = "the domain is paused: it answers when it is resumed (" + resume_command() + ')';
}

std::vector<ForwardView> DomainRecord::forward_views(Ways ways, const Policy& policy,
                                                     const Offloads& offloads) const {
  std::vector<ForwardView> views;
  const GuestReach reached = reach(policy);
  const Judges judges{ways, policy, offloads, reached};
  const IdentityIndex live_index(live_.definitions.forwards);
  const IdentityIndex config_index(config_.definitions.forwards);
  for (const SingleForward& single : wanted_) {
    ForwardView view = base_view(single);
    const ForwardDefinition* config = config_index.find(single.definition);
    const ForwardDefinition* live = live_index.find(single.definition);
    view.live = snapshot_.active;
    view.config = config && (!live || *live == *config);
    view.origin = single.origin;
    describe_guest(view, single, reached);
    describe_state(view, single, judges);
    const auto scheme = !single.spec.scheme.empty() || !view.guest_port
                            ? std::string_view(single.spec.scheme)
                            : usual_scheme(*view.guest_port);
    if (single.spec.protocol == Protocol::tcp) view.url = forward_url(view, scheme);
    views.push_back(std::move(view));
  }
  if (!snapshot_.active && !wanted_.empty()) return views;  // a reservation stands for the config
  for (const SingleForward& single : config_only_) {
    ForwardView view = base_view(single);
    view.config = true;
    view.state = ForwardState::inactive;
    view.reason = snapshot_.active  ? "begins with the next start of the domain"
                  : snapshot_.saved ? "the domain is saved: this counts from the start after its "
                                      "next one, unless it had it then"
                                    : "the domain is not running";
    if (single.refused == ForwardState::disabled) {
      view.state = ForwardState::disabled;
      view.reason = single.reason;
    }
    views.push_back(std::move(view));
  }
  return views;
}

std::optional<std::pair<std::string, std::string>> split_key(const std::string& key) {
  const std::size_t slash = key.find('/');
  if (slash == std::string::npos) return std::nullopt;
  return std::pair(key.substr(0, slash), key.substr(slash + 1));
}

}  // namespace vf
