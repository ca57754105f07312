// SPDX-License-Identifier: LGPL-2.1-or-later

#include "cli/definitions_meant.h"

#include <algorithm>

#include "cli/forward_match.h"
#include "cli/output.h"
#include "cli/shown.h"

namespace vf {

std::vector<ForwardView> of_definition(const std::vector<ForwardView>& forwards,
                                       const std::string& definition) {
  std::vector<ForwardView> ports;
  std::copy_if(forwards.begin(), forwards.end(), std::back_inserter(ports),
               [&](const ForwardView& forward) { return forward.definition == definition; });
  return ports;
}

Result<std::vector<std::string>> definitions_meant(const std::vector<ForwardView>& forwards,
                                                   const std::vector<std::string>& words,
                                                   const std::string& edited) {
  std::vector<std::string> definitions;
  for (const std::string& word : words) {
    const auto matching = match_forward(forwards, word);
    if (!matching) return Unexpected(matching.error());
    const std::string& definition = matching->front().definition;
    const std::size_t ports = of_definition(forwards, definition).size();
    if (matching->size() < ports)
      return Unexpected(ErrorCode::invalid_argument,
                        quote(word) + " is " + std::to_string(matching->size()) + " of the " +
                            std::to_string(ports) + " ports of " + quote(definition) +
                            "; a range is " + edited + " whole, by that name");
    if (std::find(definitions.begin(), definitions.end(), definition) == definitions.end())
      definitions.push_back(definition);
  }
  return definitions;
}

std::optional<Error> automatic_error(const FoundDomain& found,
                                     const std::vector<ForwardView>& ports) {
  if (ports.empty() || ports.front().origin != Origin::automatic) return std::nullopt;
  const ForwardView& forward = ports.front();
  return Error{ErrorCode::not_supported,
               quote(forward.id) + " is automatic, as long as the guest listens there: " +
                   found.command("block", guest_side(forward)) + " ends it"};
}

}  // namespace vf
