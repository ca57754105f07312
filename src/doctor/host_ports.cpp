// SPDX-License-Identifier: LGPL-2.1-or-later

#include "doctor/host_ports.h"

#include "doctor/check.h"
#include "doctor/words.h"

namespace vf {
namespace {

std::string with_suffix(Port port, Protocol protocol) {
  std::string words = std::to_string(port.number());
  if (protocol != Protocol::tcp) words += '/' + std::string(text(protocol));
  return words;
}

constexpr std::string_view by_hand = "let its <forward> have another host-port";

// The same forward on a port that is free.
std::string elsewhere(const SeenDomain& seen, const ForwardView& forward) {
  if (forward.origin == Origin::automatic)
    return edit_command(seen.domain.name, Side::live) +
           "   # or let its <rule> have another host-port";
  const ForwardDefinition* const definition = definition_of(forward, seen.live);
  const std::string_view scope = forward.config ? "--persistent" : "--live";
  if (!definition) return make_again(forward, nullptr, scope, by_hand);
  ForwardDefinition any = *definition;
  any.host = {};
  return make_again(forward, &any, scope, by_hand) + "   # or on any free port";
}

// The forward of any domain that is on the port which `forward` wants; null: none is.
const ForwardView* forward_on_port_of(const ForwardView& forward, const Seen& all) {
  for (const SeenDaemon& daemon : all.daemons)
    for (const SeenDomain& domain : daemon.domains)
      for (const ForwardView& other : domain.forwards)
        if (other.protocol == forward.protocol && other.host_port == forward.requested_port)
          return &other;
  return nullptr;
}

void judge(const Seen& all, const SeenDomain& seen, const ForwardView& forward,
           const PortHolders& holders, Findings& findings) {
  if (!forward.requested_port || !seen.domain.active || forward.state == ForwardState::inactive)
    return;
  const bool moved = forward.host_port && forward.host_port != forward.requested_port;
  if (!moved && forward.state != ForwardState::port_busy) return;
  const std::string wanted = with_suffix(*forward.requested_port, forward.protocol);
  std::string held;
  std::string stop;
  bool ours = false;
  const ForwardView* const other = forward_on_port_of(forward, all);
  for (const PortHolder& holder : holders.of(forward.protocol, *forward.requested_port)) {
    ours = ours || holder.ours();
    held += (held.empty() ? "" : " and ") +
            (!holder.ours() ? text(holder)
             : other        ? "the forward " + forward_name(*other) + " of " + other->domain
                            : "another forward (virt-forward list --all)");
    if (!holder.ours() && holder.pid != 0)
      stop += "kill " + std::to_string(holder.pid) + "   # " + holder.process + '\n';
  }
  // A guess that gave way is what a guess is for.
  if (forward.origin == Origin::automatic && moved) return;
  // A range that gave way as a whole may be on ports that it wanted for others of its own.
  if (moved && other && other->domain == forward.domain && other->definition == forward.definition)
    return;
  const std::string name = forward_name(forward);
  std::string message = "host port " + wanted + " of forward " + name + " is " +
                        (held.empty() ? "free now" : "held by " + held);
  if (moved)
    message += "; the forward is on " + std::to_string(forward.host_port->number()) + " instead";
  std::string fix = stop;
  if (stop.empty() && !held.empty() && !ours)
    fix = "ss -Hlnptu 'sport = :" + std::to_string(forward.requested_port->number()) +
          "'   # as root\n";
  if (moved && !ours)
    fix += make_again(forward, definition_of(forward, seen.live), "--live", by_hand);
  else if (moved)
    fix += elsewhere(seen, forward);
  else
    fix += "# the forward is tried again by itself\n" + elsewhere(seen, forward);
  findings.push_back({FindingId::host_port_held, moved ? Severity::warning : Severity::error,
                      seen.domain.name, std::move(message), std::move(fix)});
}

}  // namespace

void judge_host_ports(const Seen& seen, const PortHolders& holders, Findings& findings) {
  for (const SeenDaemon& daemon : seen.daemons)
    for (const SeenDomain& domain : daemon.domains)
      for (const ForwardView& forward : domain.forwards)
        judge(seen, domain, forward, holders, findings);
}

void check_host_ports(const Seen& seen, Findings& findings) {
  judge_host_ports(seen, PortHolders::read(), findings);
}

}  // namespace vf
