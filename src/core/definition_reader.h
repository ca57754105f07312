// SPDX-License-Identifier: LGPL-2.1-or-later
//
// One element's attributes, wherever they come from (XML, command line, D-Bus), to a value or
// errors.

#pragma once

#include <optional>
#include <string>
#include <vector>

#include "core/definition_xml.h"
#include "core/xml_document.h"

namespace vf {

inline constexpr XmlLimits definition_limits{.bytes = DefinitionLimits::document_bytes,
                                             .depth = DefinitionLimits::depth,
                                             .attributes = DefinitionLimits::attributes};

struct RawAttribute {
  std::string name;
  std::string value;
  int line = 0;
};

struct RawElement {
  std::string name;
  int line = 0;
  std::vector<RawAttribute> attributes;  // in the order of the document
};

// Nothing, and at least one error appended, when anything of the element is wrong.
std::optional<ForwardDefinition> read_forward(const RawElement& element,
                                              std::vector<DefinitionError>& errors);
std::optional<AutoRule> read_rule(const RawElement& element, std::vector<DefinitionError>& errors);
std::optional<SshDefinition> read_ssh(const RawElement& element,
                                      std::vector<DefinitionError>& errors);
// The attributes of <auto> itself.
std::optional<AutoDefinition> read_auto(const RawElement& element,
                                        std::vector<DefinitionError>& errors);
// <forwards> has no attributes of ours.
void read_forwards(const RawElement& element, std::vector<DefinitionError>& errors);

}  // namespace vf
