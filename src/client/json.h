// SPDX-License-Identifier: LGPL-2.1-or-later
//
// The JSON of the command line. Keys and their order are frozen in the design; what is unknown has
// no key.

#pragma once

#include <optional>
#include <string>
#include <string_view>
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

struct CountedForward {
  ForwardView forward;
  std::optional<ForwardCounters> counters;
};

// One line without its end. Characters that a terminal would act on are written as \uXXXX.
std::string json_forward(const CountedForward& forward);
// The same with "ways": [{"way","state","reason"}], in order of preference.
std::string json_ways(const ForwardView& forward);
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
