// SPDX-License-Identifier: LGPL-2.1-or-later
//
// Which forwards `list` and `watch` show, and their words for people.

#pragma once

#include <string>

#include "core/definition.h"
#include "core/forward_view.h"

namespace vf {

// A stopped domain, and what only its next start brings, is shown with --all alone.
bool is_shown(const ForwardView& forward, bool all);

// "http://127.0.0.1:8080" or a socket; "-" for what is not bound.
std::string host_side(const ForwardView& forward);
// The same of one that is not bound, as it will be by its definition where the port is free then.
std::string host_side(const ForwardView& forward, const ForwardDefinition& definition);
// "80", "53/udp" or a socket.
std::string guest_side(const ForwardView& forward);
// "tcp", "tcp+redirect"; "-" while there is none.
std::string way(const ForwardView& forward);
// "active, unproven", "waiting, live only". `differ`: the domain runs and has a next start.
std::string state_words(const ForwardView& forward, bool differ);
// The reason and the time of the next try; empty for an active one.
std::string reason_words(const ForwardView& forward);
// "3000", "53/udp".
std::string port_words(const PortView& port);
// The name, else that of the process; "-" for neither.
std::string name_words(const ForwardView& forward);
// Why no agent tells of the domain's ports; empty where that is not known.
std::string agent_reason(const DomainView& domain);
// ANSI colour (SGR parameters) of the state.
const char* state_color(const ForwardView& forward);
const char* state_color(DetectedState state);

}  // namespace vf
