// SPDX-License-Identifier: LGPL-2.1-or-later
//
// An edit of a document that others write to as well: what is not ours stays, and the
// result is what virDomainSetMetadata takes. That call declares our namespace under a prefix of its
// own at the root and puts every element without a namespace into it, and fails when the root
// declares that prefix already. So our elements lose their namespace here, and no declaration of
// the root may use the prefix or stand as the default for elements that now have none.

#pragma once

#include <libxml/tree.h>

#include <string>
#include <string_view>

#include "base/result.h"
#include "core/definition_reader.h"
#include "core/definition_schema.h"
#include "core/xml_document.h"

namespace vf {

// The document for an edit, without our namespace; a new one where `xml` is empty. InvalidArgument
// when it cannot be edited.
Result<XmlDocument> editable(std::string_view xml);
// The edited document; empty when nothing is left of it. InvalidArgument when it grew too large.
Result<std::string> written(xmlNode* root);

bool is_blank(const xmlNode* node);
bool is_element(const xmlNode* node, std::string_view name);
RawElement raw_element(const xmlNode* element);
// Null where there is none.
xmlNode* child_named(xmlNode* parent, std::string_view name);

// Belongs to nobody until it is put into a document.
xmlNode* new_element(xmlNode* near, const char* name);
template <typename Element>
void set_attributes(xmlNode* node, const AttributeTable<Element>& table, const Element& element) {
  for (const auto& row : table)
    if (const auto value = row.write(element))
      xmlNewProp(node, xml_text(std::string(row.name).c_str()), xml_text(value->c_str()));
}
// Puts `element` behind `before`, or first where that is null, on a line of its own where its
// parent has lines.
void insert(xmlNode* parent, xmlNode* before, xmlNode* element, const std::string& indent);
// What stands in front of the element in its line.
std::string indent_of(const xmlNode* element);
// An element takes the white space in front of it along.
void remove_with_space(xmlNode* node);

}  // namespace vf
