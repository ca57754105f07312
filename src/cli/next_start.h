// SPDX-License-Identifier: LGPL-2.1-or-later
//
// What becomes of a definition that is only stored.

#pragma once

#include <string>

#include "cli/daemons.h"
#include "core/definition.h"

namespace vf {

// "port 8100, or the next free one, is bound at the next start of "web"", and which other forward
// has the port now or wants it too. A domain that was saved goes on without it.
std::string next_start_words(const FoundDomain& found, const ForwardDefinition& definition);

}  // namespace vf
