// SPDX-License-Identifier: LGPL-2.1-or-later

#include "cli/explain_forward.h"

#include <algorithm>

#include "cli/daemons.h"
#include "cli/explain_port.h"
#include "cli/forward_match.h"
#include "cli/output.h"
#include "cli/port_spec.h"
#include "client/views.h"

namespace vf {
namespace {

Result<ShownDomain> shown_domain(const FoundDomain& found) {
  const auto inventory = found.daemon->inventory();
  if (!inventory) return Unexpected(inventory.error());
  ShownDomain shown{found.domain, {}, {}, {}, {}};
  for (const auto& [path, properties] : inventory->forwards) {
    ForwardView forward = forward_view(properties);
    if (forward.uuid == found.domain.uuid) shown.forwards.push_back(std::move(forward));
  }
  for (const auto& [path, properties] : inventory->ports) {
    PortView port = port_view(properties);
    if (port.uuid == found.domain.uuid) shown.ports.push_back(std::move(port));
  }
  const bool wanted = std::ranges::any_of(shown.forwards, [&](const ForwardView& forward) {
    return forward.state == ForwardState::inactive || goes_astray(shown.domain, forward);
  });
  if (wanted && shown.domain.active) {
    shown.live = read_metadata(*found.daemon, found.path, {.live = true});
    shown.config = read_metadata(*found.daemon, found.path, {.config = true});
  }
  return shown;
}

bool is_name(const ShownDomain& shown, const std::string& word) {
  return std::ranges::any_of(shown.forwards, [&](const ForwardView& forward) {
    return forward.id == word || forward.name == word || forward.definition == word;
  });
}

Result<std::vector<PortExplanation>> explanations_of(const ShownDomain& shown,
                                                     const std::string& what) {
  const PortHolders holders = PortHolders::read();
  const auto spec = parse_port_spec(what);
  if (spec && spec->ports.low() == spec->ports.high() && !is_name(shown, what)) {
    const bool any = what.find('/') == std::string::npos;
    return explain_port(shown, spec->ports.low(),
                        any ? std::nullopt : std::optional(spec->protocol), holders);
  }
  const bool number = what.find_first_not_of("0123456789") == std::string::npos;
  if (!spec && number && !is_name(shown, what)) return Unexpected(spec.error());
  const auto forwards = match_forward(shown.forwards, what);
  if (!forwards) return Unexpected(forwards.error());
  std::vector<PortExplanation> explanations;
  for (const ForwardView& forward : *forwards)
    explanations.push_back(explain_forward(shown, forward, holders));
  return explanations;
}

}  // namespace

int explain_forward(const Call& call, const std::string& domain, const std::string& what) {
  const auto daemons = Daemons::open(call.globals, call.command_line);
  if (!daemons) return fail(daemons.error());
  const auto found = daemons->find(domain);
  if (!found) return fail(found.error());
  const auto shown = shown_domain(*found);
  if (!shown) return fail(shown.error());
  const auto explanations = explanations_of(*shown, what);
  if (!explanations) return fail(explanations.error());
  bool known = false;
  for (const PortExplanation& one : *explanations) {
    known = known || one.forward || !one.listeners.empty();
    if (call.globals.json)
      print(json_explanation(one) + '\n');
    else
      print(page(one, color_wanted(call.globals.color), stdout_is_terminal()));
  }
  return known ? 0 : exit_status(ErrorCode::no_such_forward);
}

}  // namespace vf
