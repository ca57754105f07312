// SPDX-License-Identifier: LGPL-2.1-or-later
//
// __complete verbs|domains|forwards DOMAIN|ports DOMAIN: candidates for the shell, one a line. Says
// nothing when something is wrong: it runs while somebody types.

#include <set>

#include "cli/daemons.h"
#include "cli/output.h"
#include "cli/shown.h"
#include "cli/verb.h"

namespace vf {
namespace {

// A name that the shell could not take back from a line is left out.
bool fits_a_line(const std::string& name) {
  for (const char byte : name)
    if (static_cast<unsigned char>(byte) < 0x20 || byte == 0x7f) return false;
  return !name.empty();
}

void offer(const std::set<std::string>& names) {
  for (const std::string& name : names)
    if (fits_a_line(name)) print(name + '\n');
}

void offer_domains(const Daemons& daemons) {
  std::set<std::string> names;
  for (const Daemon& daemon : daemons.all()) {
    const auto inventory = daemon.inventory();
    if (!inventory) continue;
    for (const auto& [path, properties] : inventory->domains)
      names.insert(domain_view(properties).name);
  }
  offer(names);
}

void offer_forwards(const Daemons& daemons, const std::string& domain) {
  const auto found = daemons.find(domain);
  if (!found) return;
  const auto inventory = found->daemon->inventory();
  if (!inventory) return;
  std::set<std::string> names;
  for (const auto& [path, properties] : inventory->forwards) {
    const ForwardView forward = forward_view(properties);
    if (forward.uuid == found->domain.uuid)
      names.insert(forward.definition.empty() ? forward.id : forward.definition);
  }
  offer(names);
}

void offer_ports(const Daemons& daemons, const std::string& domain) {
  const auto found = daemons.find(domain);
  if (!found) return;
  const auto inventory = found->daemon->inventory();
  if (!inventory) return;
  std::set<std::string> names;
  for (const auto& [path, properties] : inventory->ports) {
    const PortView port = port_view(properties);
    if (port.uuid == found->domain.uuid && port.port) names.insert(port_words(port));
  }
  offer(names);
}

int run_complete(const Verb&, Call& call) {
  Options options("", "");
  options.global(call.globals);
  const auto positional = options.parse(call.arguments);
  if (!positional || positional->empty()) return 0;
  const std::string& kind = positional->front();
  if (kind == "verbs") {
    for (const Verb* verb : verbs())
      if (!verb->hidden) print(std::string(verb->name) + '\n');
    return 0;
  }
  const auto daemons = Daemons::open(call.globals, call.command_line, Daemons::Quiet::yes);
  if (!daemons) return 0;
  if (kind == "domains") offer_domains(*daemons);
  if (kind == "forwards" && positional->size() > 1) offer_forwards(*daemons, (*positional)[1]);
  if (kind == "ports" && positional->size() > 1) offer_ports(*daemons, (*positional)[1]);
  return 0;
}

}  // namespace

const Verb complete_verb{"__complete", "", "", "", true, run_complete};

}  // namespace vf
