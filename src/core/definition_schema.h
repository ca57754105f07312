// SPDX-License-Identifier: LGPL-2.1-or-later
//
// The attributes of each metadata element, one table per element: parser, writer and
// parse_forward() read the same rows. xml/forwards.rng says the same as a schema; the tests keep
// the two together.

#pragma once

#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "core/definition.h"

namespace vf {

template <typename Element>
struct Attribute {
  std::string_view name;
  std::string allowed;  // for people, reads behind "allowed are"
  // False, with the element untouched, for a value that is not allowed.
  std::function<bool(Element&, std::string_view)> read;
  // Nothing where the element is at the default.
  std::function<std::optional<std::string>(const Element&)> write;
};

template <typename Element>
using AttributeTable = std::vector<Attribute<Element>>;

const AttributeTable<ForwardDefinition>& forward_attributes();
const AttributeTable<AutoDefinition>& auto_attributes();
const AttributeTable<AutoRule>& rule_attributes();
const AttributeTable<SshDefinition>& ssh_attributes();

// Letters, digits, '.', '_' and '-', neither of the last in front.
bool is_key_name(std::string_view value);

}  // namespace vf
