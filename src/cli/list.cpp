// SPDX-License-Identifier: LGPL-2.1-or-later

#include <algorithm>
#include <map>
#include <set>
#include <tuple>

#include "cli/daemons.h"
#include "cli/output.h"
#include "cli/shown.h"
#include "cli/table.h"
#include "cli/verb.h"
#include "client/json.h"
#include "doctor/words.h"

namespace vf {
namespace {

struct Listed {
  const Daemon* daemon;
  std::string path;
  ForwardView forward;
  std::string domain_path;
  DomainView domain;
};

// Of forwards that are only defined, where they would be.
class HostSides {
 public:
  std::string of(const Listed& one) {
    const ForwardView& forward = one.forward;
    const bool only_defined =
        forward.state == ForwardState::inactive || forward.state == ForwardState::disabled;
    if (!only_defined || !forward.requested_port) return host_side(forward);
    const auto [metadata, fresh] =
        read_.try_emplace({one.daemon, one.domain_path, forward.live}, std::nullopt);
    if (fresh)
      metadata->second = read_metadata(*one.daemon, one.domain_path,
                                       {.live = forward.live, .config = !forward.live});
    const ForwardDefinition* definition = definition_of(forward, metadata->second);
    return definition ? host_side(forward, *definition) : host_side(forward);
  }

 private:
  std::map<std::tuple<const Daemon*, std::string, bool>, SeenMetadata> read_;  // true: live
};

auto order_of(const Listed& listed) {
  const ForwardView& forward = listed.forward;
  return std::make_tuple(listed.daemon, forward.domain, forward.uuid,
                         forward.host_port ? forward.host_port : forward.requested_port,
                         forward.guest_port, forward.id);
}

// The domains to list of one daemon, by UUID; absent: all.
using Chosen = std::map<const Daemon*, std::set<std::string>>;

// A running domain of which nothing is shown, though its next start brings something. Whether it
// said so.
bool say_what_is_left_out(const std::map<std::string, DomainView>& domains,
                          const std::map<std::string, Properties>& forwards,
                          const std::vector<Listed>& listed) {
  std::map<std::string, std::size_t> left_out;
  for (const auto& [path, properties] : forwards)
    if (const ForwardView forward = forward_view(properties); forward.config)
      ++left_out[forward.uuid];
  for (const Listed& one : listed)
    left_out.erase(one.forward.uuid);
  bool said = false;
  for (const auto& [uuid, domain] : domains)
    if (const auto found = left_out.find(uuid); domain.active && found != left_out.end()) {
      said = true;
      say("config only: " + std::to_string(found->second) +
          (found->second == 1 ? " forward" : " forwards") + " at the next start of " +
          quote(domain.name) + "; --all shows " + (found->second == 1 ? "it" : "them"));
    }
  return said;
}

Result<std::vector<Listed>> read(const Daemon& daemon, const std::optional<Chosen>& chosen,
                                 bool all, bool& hinted) {
  const auto inventory = daemon.inventory();
  if (!inventory) return Unexpected(inventory.error());
  const auto is_chosen = [&](const std::string& uuid) {
    return !chosen || (chosen->contains(&daemon) && chosen->at(&daemon).contains(uuid));
  };
  std::map<std::string, DomainView> domains;
  std::map<std::string, std::string> paths;
  for (const auto& [path, properties] : inventory->domains) {
    DomainView domain = domain_view(properties);
    if (!is_chosen(domain.uuid)) continue;
    if (chosen || all || domain.active)
      for (const std::string& problem : domain.problems)
        say(quote(domain.name) + ": " + problem);
    if (chosen && !all && !domain.active) {
      hinted = true;
      say("domain " + quote(domain.name) + " does not run; --all shows what its next start brings");
    }
    paths.emplace(domain.uuid, path);
    domains.emplace(domain.uuid, std::move(domain));
  }
  std::vector<Listed> listed;
  for (const auto& [path, properties] : inventory->forwards) {
    ForwardView forward = forward_view(properties);
    if (!is_chosen(forward.uuid) || !is_shown(forward, all)) continue;
    const std::string uuid = forward.uuid;
    listed.push_back({&daemon, path, std::move(forward), paths[uuid], domains[uuid]});
  }
  if (chosen && !all && say_what_is_left_out(domains, inventory->forwards, listed)) hinted = true;
  return listed;
}

void print_json(const std::vector<Listed>& listed) {
  std::map<const Daemon*, std::map<std::string, ForwardCounters>> counters;
  std::vector<CountedForward> forwards;
  for (const Listed& one : listed) {
    if (!counters.contains(one.daemon)) counters.emplace(one.daemon, one.daemon->counters());
    const auto& known = counters.at(one.daemon);
    const auto found = known.find(one.path);
    forwards.push_back(
        {one.forward, found == known.end() ? std::nullopt : std::optional(found->second)});
  }
  print(json_forwards(forwards));
}

void print_table(const std::vector<Listed>& listed, bool all, bool color) {
  // One name in two daemons: the reader must see which is which.
  std::map<std::string, std::set<const Daemon*>> holders;
  for (const Listed& one : listed)
    holders[one.forward.domain].insert(one.daemon);

  HostSides host_sides;
  Table table({"DOMAIN", "NAME", "URL", "GUEST", "WAY", "STATE"});
  for (const Listed& one : listed) {
    const ForwardView& forward = one.forward;
    std::string domain = forward.domain;
    if (holders[domain].size() > 1) domain += " (" + one.daemon->uri() + ')';
    const bool differ = all && one.domain.active && one.domain.persistent;
    table.add({{domain},
               {name_words(forward)},
               {host_sides.of(one)},
               {guest_side(forward)},
               {way(forward)},
               {state_words(forward, differ), state_color(forward)}},
              reason_words(forward));
  }
  print(table.render(color, stdout_is_terminal()));
}

int run_list(const Verb& verb, Call& call) {
  bool all = false;
  Options options(std::string(verb.parameters), std::string(verb.description));
  options.flag("all", 'a', all, "Also stopped domains, and what only the next start brings");
  std::vector<std::string> positional;
  if (const auto over = take_arguments(verb, call, options, positional, 0, 10000)) return *over;
  const auto daemons = Daemons::open(call.globals, call.command_line);
  if (!daemons) return fail(daemons.error());

  std::optional<Chosen> chosen;
  for (const std::string& name : positional) {
    const auto found = daemons->find(name);
    if (!found) return fail(found.error());
    if (!chosen) chosen.emplace();
    (*chosen)[found->daemon].insert(found->domain.uuid);
  }
  std::vector<Listed> listed;
  bool hinted = false;
  for (const Daemon& daemon : daemons->all()) {
    auto some = read(daemon, chosen, all, hinted);
    if (!some) return fail(some.error());
    std::move(some->begin(), some->end(), std::back_inserter(listed));
  }
  std::sort(listed.begin(), listed.end(),
            [](const Listed& a, const Listed& b) { return order_of(a) < order_of(b); });

  if (call.globals.json)
    print_json(listed);
  else
    print_table(listed, all, color_wanted(call.globals.color));
  if (listed.empty() && !hinted && !call.globals.json && stdout_is_terminal())
    say("no forwards; make one with: virt-forward add DOMAIN 8080:80");
  return 0;
}

}  // namespace

const Verb list_verb{"list",
                     "[DOMAIN…]",
                     "Show forwards, their URLs and their states",
                     "Shows the forwards of running domains, or of those named.",
                     false,
                     run_list};

}  // namespace vf
