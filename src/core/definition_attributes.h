// SPDX-License-Identifier: LGPL-2.1-or-later

#pragma once

#include <string>
#include <utility>
#include <vector>

#include "core/definition.h"

namespace vf {

// The inverse of parse_forward(): the attributes that are not at their defaults, in the order of
// the vocabulary.
std::vector<std::pair<std::string, std::string>> attributes_of(const ForwardDefinition& forward);

}  // namespace vf
