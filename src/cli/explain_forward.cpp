// SPDX-License-Identifier: LGPL-2.1-or-later

#include "cli/explain_forward.h"

#include "base/printable.h"
#include "cli/daemons.h"
#include "cli/forward_match.h"
#include "cli/output.h"
#include "cli/shown.h"
#include "cli/table.h"
#include "client/json.h"
#include "client/views.h"

namespace vf {
namespace {

Result<std::vector<ForwardView>> forwards_of(const FoundDomain& found) {
  const auto inventory = found.daemon->inventory();
  if (!inventory) return Unexpected(inventory.error());
  std::vector<ForwardView> forwards;
  for (const auto& [path, properties] : inventory->forwards) {
    ForwardView forward = forward_view(properties);
    if (forward.uuid == found.domain.uuid) forwards.push_back(std::move(forward));
  }
  return forwards;
}

std::string summary(const ForwardView& forward) {
  std::string line = forward.id + ": " + state_words(forward, false);
  if (forward.transport) line += " by " + way(forward);
  const std::string reason = reason_words(forward);
  return printable(reason.empty() ? line : line + ": " + reason) + '\n';
}

}  // namespace

int explain_forward(const Call& call, const std::string& domain, const std::string& name) {
  const auto daemons = Daemons::open(call.globals, call.command_line);
  if (!daemons) return fail(daemons.error());
  const auto found = daemons->find(domain);
  if (!found) return fail(found.error());
  const auto all = forwards_of(*found);
  if (!all) return fail(all.error());
  const auto forwards = match_forward(*all, name);
  if (!forwards) return fail(forwards.error());
  for (const ForwardView& forward : *forwards) {
    if (call.globals.json) {
      print(json_ways(forward) + '\n');
      continue;
    }
    print(summary(forward));
    if (forward.ways.empty()) continue;
    Table table({"WAY", "STATE"});
    for (const WayView& one : forward.ways)
      table.add({{one.way}, {std::string(text(one.state))}}, one.reason);
    print(table.render(color_wanted(call.globals.color), stdout_is_terminal()));
  }
  return 0;
}

}  // namespace vf
