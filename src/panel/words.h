// SPDX-License-Identifier: LGPL-2.1-or-later
//
// What rows say to people, translated.

#pragma once

#include <cstdint>
#include <string>

#include "panel/rows.h"

namespace vf::panel {

// "Web server", "node", "Port 3000".
std::string title(const ForwardView& forward);
std::string title(const PortView& port);
// "node · port 3000 on 0.0.0.0 · vsock + redirect"
std::string details(const ForwardRow& row);
std::string details(const PortView& port);
// "localhost:8080" with its scheme where one is known; a socket; empty where there is none.
std::string url(const ForwardView& forward);
// Whether a desktop's program can open it.
bool opens(const std::string& url);
std::string state(const ForwardView& forward);
std::string state(const PortView& port);
// The state with its reason and its next try; of an active one the reason alone, empty where all is
// well.
std::string trouble(const ForwardView& forward);
// "2 open · 1.2 MB in · 400 kB out"; empty where nothing is known.
std::string traffic(const ForwardRow& row);
// Of the state: an icon's name and a class of the style sheet.
const char* icon(const ForwardView& forward);
const char* icon(const PortView& port);
const char* style(const ForwardView& forward);
const char* style(const PortView& port);
// Whose it is, and who tells of its ports or why nobody does.
std::string details(const DomainRow& row);
// All that a row says, for who does not see it.
std::string spoken(const Row& row);

}  // namespace vf::panel
