// SPDX-License-Identifier: LGPL-2.1-or-later

#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "core/forward_view.h"

namespace vf {

// The forwards of one domain that FORWARD of a command line means, all of one definition: by id,
// name, identity of the definition, host port, or [HOST:]GUEST[/udp] - the first of these that
// fits any. NoSuchForward names those there are; AmbiguousName those that it could be.
Result<std::vector<ForwardView>> match_forward(const std::vector<ForwardView>& forwards,
                                               std::string_view text);

}  // namespace vf
