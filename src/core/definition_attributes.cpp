// SPDX-License-Identifier: LGPL-2.1-or-later

#include "core/definition_attributes.h"

#include "core/definition_schema.h"

namespace vf {

std::vector<std::pair<std::string, std::string>> attributes_of(const ForwardDefinition& forward) {
  std::vector<std::pair<std::string, std::string>> attributes;
  for (const auto& row : forward_attributes())
    if (auto value = row.write(forward)) attributes.emplace_back(row.name, *std::move(value));
  return attributes;
}

}  // namespace vf
