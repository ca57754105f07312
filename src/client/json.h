// SPDX-License-Identifier: LGPL-2.1-or-later
//
// The JSON of the command line. Keys and their order are frozen in the design; what is unknown has
// no key.

#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "core/definition.h"
#include "core/forward_view.h"

namespace vf {

// What rules make of a port, and what it would get.
struct ExplainedPort {
  PortView port;
  std::vector<IpAddress> host_addresses;
  std::optional<Port> host_port;
  std::string host_socket;
  std::string label;
  std::string scheme;
};

// Who holds a port of this host.
struct HolderView {
  std::vector<IpAddress> addresses;
  std::optional<Port> port;
  std::string user;
  std::optional<ProcessView> process;  // absent where it may not be seen
};

// Why a port or a forward is as it is.
struct PortExplanation {
  std::string domain;
  std::string uuid;
  Protocol protocol = Protocol::tcp;
  std::optional<Port> port;            // of the guest, as it was asked for
  std::optional<ForwardView> forward;  // absent: there is none
  std::string definition;              // that decided, else
  std::optional<std::uint32_t> rule;   // the number of a rule
  std::string rule_text;
  bool marked = false;              // the rule is one of `block`
  std::vector<PortView> listeners;  // what the guest says
  std::string no_listeners;         // what is known where it says nothing
  std::vector<HolderView> holders;
  std::string reason;  // why nothing is forwarded
  std::string next;    // a command that changes that
};

struct CountedForward {
  ForwardView forward;
  std::optional<ForwardCounters> counters;
};

// An object of these texts, empty ones too; one line without its end.
std::string json_texts(const std::vector<std::pair<std::string, std::string>>& members);

// One line without its end. Characters that a terminal would act on are written as \uXXXX.
std::string json_forward(const CountedForward& forward);
// The same of a forward with "ways": [{"way","state","reason"}] in order of preference, "decision",
// "listeners", "holders", "next-retry", "next"; without a forward the port alone. One line without
// its end.
std::string json_explanation(const PortExplanation& explanation);
// {"event":EVENT,"forward":{...}}: one line without its end.
std::string json_event(std::string_view event, const ForwardView& forward);
// An array with one forward a line, and the end of the last line.
std::string json_forwards(const std::vector<CountedForward>& forwards);

// An array of definitions, one a line, each an object with the attributes of <forward> as texts;
// and the end of the last line.
std::string json_definitions(const std::vector<ForwardDefinition>& forwards);

// The action that leads to the state: forward, block, ignore, ask, deny.
std::string_view detected_action(DetectedState state);
// One line without its end each.
std::string json_explained(const ExplainedPort& port);
std::string json_port(const PortView& port);
// {"event":EVENT,"port":{...}}
std::string json_event(std::string_view event, const PortView& port);
// A domain's switch, agent and ports: one object, a port a line, and the end of the last line.
std::string json_automatic(const DomainView& domain, const std::vector<PortView>& ports);

}  // namespace vf
