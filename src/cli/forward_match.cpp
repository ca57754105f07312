// SPDX-License-Identifier: LGPL-2.1-or-later

#include "cli/forward_match.h"

#include <algorithm>
#include <functional>
#include <set>

#include "cli/nearest.h"
#include "cli/output.h"
#include "cli/shown.h"
#include "core/forward_spec.h"

namespace vf {
namespace {

using Test = std::function<bool(const ForwardView&)>;

constexpr std::size_t most_named = 8;

bool within(const PortRange& ports, const std::optional<Port>& port) {
  return port && ports.contains(*port);
}

bool guest_fits(const ForwardSpec& spec, const ForwardView& forward) {
  if (const auto* ports = std::get_if<PortRange>(&spec.guest))
    return within(*ports, forward.guest_port);
  return std::get<SocketPath>(spec.guest).path == forward.guest_socket;
}

bool host_fits(const ForwardSpec& spec, const ForwardView& forward) {
  if (spec.host_address && std::find(forward.host_addresses.begin(), forward.host_addresses.end(),
                                     *spec.host_address) == forward.host_addresses.end())
    return false;
  if (const auto* ports = std::get_if<PortRange>(&spec.host))
    return within(*ports, forward.host_port) || within(*ports, forward.requested_port);
  if (const auto* socket = std::get_if<SocketPath>(&spec.host))
    return socket->path == forward.host_socket;
  return true;
}

std::string names(const std::vector<ForwardView>& forwards) {
  std::string text;
  for (std::size_t i = 0; i < forwards.size() && i < most_named; ++i)
    text += (i == 0 ? "" : ", ") + quote(forwards[i].id);
  if (forwards.size() > most_named)
    text += " and " + std::to_string(forwards.size() - most_named) + " more";
  return text;
}

// In the order in which a reader would take the word.
std::vector<Test> readings(std::string_view text) {
  const std::string word(text);
  std::vector<Test> tests{
      [word](const ForwardView& forward) { return forward.id == word; },
      [word](const ForwardView& forward) { return forward.name == word; },
      [word](const ForwardView& forward) { return forward.definition == word; },
      [word](const ForwardView& forward) {  // as `list` names it
        return forward.name.empty() && forward.process && forward.process->name == word;
      },
  };
  if (const auto port = Port::parse(text)) {
    tests.push_back([port](const ForwardView& forward) { return forward.host_port == port; });
    tests.push_back([port](const ForwardView& forward) { return forward.requested_port == port; });
  }
  if (const auto spec = parse_forward_spec(text)) {
    tests.push_back([spec = *spec](const ForwardView& forward) {
      return guest_fits(spec, forward) && host_fits(spec, forward) &&
             (!spec.protocol || spec.protocol == forward.protocol);
    });
  }
  return tests;
}

}  // namespace

Result<std::vector<ForwardView>> match_forward(const std::vector<ForwardView>& forwards,
                                               std::string_view text) {
  if (!text.empty()) {
    for (const Test& fits : readings(text)) {
      std::vector<ForwardView> fitting;
      std::copy_if(forwards.begin(), forwards.end(), std::back_inserter(fitting), fits);
      if (fitting.empty()) continue;
      std::set<std::string> definitions;
      for (const ForwardView& forward : fitting)
        definitions.insert(forward.definition);
      if (definitions.size() == 1) return fitting;
      return Unexpected(ErrorCode::ambiguous_name,
                        quote(text) + " could be " + names(fitting) + "; say which of these");
    }
  }
  std::vector<std::string> known;
  for (const ForwardView& forward : forwards)
    for (const std::string& name : {forward.name, name_words(forward), forward.id})
      if (!name.empty()) known.push_back(name);
  const std::string hint = did_you_mean(text, known);
  return Unexpected(ErrorCode::no_such_forward,
                    "no forward " + quote(text) +
                        (forwards.empty() ? "; the domain has none"
                         : hint.empty()   ? "; there are " + names(forwards)
                                          : hint));
}

}  // namespace vf
