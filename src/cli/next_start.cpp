// SPDX-License-Identifier: LGPL-2.1-or-later

#include "cli/next_start.h"

#include <algorithm>
#include <map>
#include <utility>

#include "cli/output.h"
#include "doctor/words.h"
#include "glib/object_path.h"
#include "glib/shell_word.h"

namespace vf {
namespace {

std::vector<IpAddress> addresses_of(const ForwardDefinition& definition) {
  if (definition.host_address) return {*definition.host_address};
  return {IpAddress::loopback4(), IpAddress::loopback6()};
}

bool overlap(const std::vector<IpAddress>& some, const std::vector<IpAddress>& others) {
  return std::ranges::any_of(some, [&](const IpAddress& one) {
    return std::ranges::any_of(others, [&](const IpAddress& other) {
      return one == other ||
             (one.is_v4() == other.is_v4() && (one.is_wildcard() || other.is_wildcard()));
    });
  });
}

// Other forwards that have or want one of the ports, as far as that will matter.
class Rivals {
 public:
  Rivals(const FoundDomain& found, const ForwardDefinition& definition)
      : found_(found), definition_(definition), identity_(definition.identity()) {}

  // "the forward "a" of "db" has 8101 now"; empty where none is known.
  std::string words() {
    const auto* const ports = std::get_if<PortRange>(&definition_.host);
    const auto inventory = ports ? found_.daemon->inventory() : Result<Objects>(Objects());
    if (!ports || !inventory) return {};
    std::string wanted;
    for (const auto& [path, properties] : inventory->forwards) {
      const ForwardView forward = forward_view(properties);
      const auto port = forward.host_port ? forward.host_port : forward.requested_port;
      if (!port || !ports->contains(*port) || !matters(forward)) continue;
      // Of those that only want it one will do; the metadata of each is a question to the daemon.
      if ((!wanted.empty() && !forward.host_port) || !meets(forward)) continue;
      const std::string who = "the forward " + quote(forward_name(forward)) + " of " +
                              quote(forward.domain) + (forward.host_port ? " has " : " wants ") +
                              (ports->width() == 1 ? "it" : std::to_string(port->number()));
      if (forward.host_port) return who + " now";
      if (wanted.empty()) wanted = who + " too";
    }
    return wanted;
  }

 private:
  // What is of the domain's present run ends with it, and what came by itself gives way.
  bool matters(const ForwardView& forward) const {
    const bool own = forward.uuid == found_.domain.uuid;
    return forward.origin == Origin::metadata && forward.protocol == definition_.protocol &&
           forward.state != ForwardState::disabled && forward.state != ForwardState::denied &&
           (!own || (forward.config && forward.definition != identity_));
  }

  bool meets(const ForwardView& forward) {
    const std::vector<IpAddress> own = addresses_of(definition_);
    if (!forward.host_addresses.empty()) return overlap(forward.host_addresses, own);
    auto& metadata = metadata_[{forward.uuid, forward.live}];
    if (!metadata)
      metadata = read_metadata(*found_.daemon, domain_path(forward.uuid),
                               {.live = forward.live, .config = !forward.live});
    const ForwardDefinition* const its = definition_of(forward, metadata);
    return its && overlap(addresses_of(*its), own);
  }

  const FoundDomain& found_;
  const ForwardDefinition& definition_;
  std::string identity_;
  std::map<std::pair<std::string, bool>, SeenMetadata> metadata_;  // by uuid and live
};

}  // namespace

std::string next_start_words(const FoundDomain& found, const ForwardDefinition& definition) {
  if (!definition.enabled) return "it is not served while it is disabled";
  if (found.domain.saved)
    return quote(found.domain.name) +
           " is saved, and its next start goes on with the forwards that it had then: this one "
           "begins with a start after that (virsh managedsave-remove " +
           shell_word(found.domain.name) + " gives the saved state up)";
  const std::string at = " at the next start of " + quote(found.domain.name);
  if (std::holds_alternative<SocketPath>(definition.host)) return "the socket is made" + at;
  const auto* const ports = std::get_if<PortRange>(&definition.host);
  if (!ports) return "a free port is bound" + at;
  const bool one = ports->width() == 1;
  std::string words = (one ? "port " : "ports ") + ports->text();
  if (definition.on_busy != OnBusy::fail)
    words += std::string(", or ") + (definition.on_busy == OnBusy::next ? "the next" : "any") +
             (one ? " free one," : " free ones,");
  words += (one ? " is bound" : " are bound") + at;
  if (definition.on_busy == OnBusy::fail)
    words += std::string(definition.required ? ", which fails if " : " if ") +
             (one ? "it is" : "they are") + (definition.required ? " not free then" : " free then");
  const std::string rival = Rivals(found, definition).words();
  return rival.empty() ? words : words + ": " + rival;
}

}  // namespace vf
