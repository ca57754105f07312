// SPDX-License-Identifier: LGPL-2.1-or-later

#include <libxml/tree.h>

#include <algorithm>
#include <map>

#include "base/printable.h"
#include "core/definition_reader.h"
#include "core/definition_schema.h"
#include "core/definition_xml.h"
#include "core/forward_entry.h"
#include "core/metadata_edit.h"
#include "core/xml_document.h"

namespace vf {
namespace {

bool is_forward(const xmlNode* node) {
  return is_element(node, "forward");
}

// The identity of a forward in an unprefixed document, also of one that is wrong where it can be
// told; else empty.
std::string identity_of(const xmlNode* element) {
  std::vector<DefinitionError> errors;
  const auto forward = read_forward(raw_element(element), errors);
  if (forward) return forward->identity();
  return errors.empty() ? std::string() : errors.front().identity;
}

xmlNode* new_forward(xmlNode* root, const ForwardDefinition& forward) {
  xmlNode* element = xmlNewDocNode(root->doc, nullptr, xml_text("forward"), nullptr);
  if (!element) std::abort();
  set_attributes(element, forward_attributes(), forward);
  return element;
}

// Behind `last`, or first where that is null. The element.
xmlNode* insert_forward(xmlNode* root, xmlNode* last, xmlNode* element) {
  xmlNode* space = last ? last->prev : root->children;
  if (!root->children) {
    // Laid out as virDomainGetMetadata does.
    xmlAddChild(root, xmlNewDocText(root->doc, xml_text("\n  ")));
    xmlAddChild(root, element);
    xmlAddChild(root, xmlNewDocText(root->doc, xml_text("\n")));
    return element;
  }
  if (last)
    xmlAddNextSibling(last, element);
  else
    xmlAddPrevSibling(root->children, element);
  if (is_blank(space)) xmlAddPrevSibling(element, xmlDocCopyNode(space, root->doc, 1));
  return element;
}

xmlNode* new_child(xmlNode* parent, const char* name) {
  xmlNode* child = xmlNewDocNode(parent->doc, nullptr, xml_text(name), nullptr);
  if (!child) std::abort();
  return xmlAddChild(parent, child);
}

}  // namespace

Result<std::string> with_forwards_added(std::string_view xml,
                                        const std::vector<ForwardDefinition>& forwards) {
  auto document = editable(xml);
  if (!document) return Unexpected(std::move(document).error());
  xmlNode* root = document->root();

  xmlNode* last = nullptr;
  std::size_t count = forwards.size();
  std::map<std::string, const xmlNode*> there;
  for (xmlNode* child = root->children; child; child = child->next) {
    if (!is_forward(child)) continue;
    last = child;
    ++count;
    there.emplace(identity_of(child), child);
  }
  if (count > DefinitionLimits::forwards)
    return Unexpected(ErrorCode::invalid_argument, "the metadata would have " +
                                                       std::to_string(count) +
                                                       " forwards; allowed are at most " +
                                                       std::to_string(DefinitionLimits::forwards));
  for (std::size_t entry = 0; entry < forwards.size(); ++entry) {
    const std::string identity = forwards[entry].identity();
    if (const auto [known, is_new] = there.emplace(identity, nullptr); !is_new) {
      const std::string where =
          known->second
              ? ", in line " + std::to_string(document->line(known->second)) + " of the metadata"
              : ", among these";
      return Unexpected(
          of_entry({ErrorCode::invalid_argument,
                    "there is a forward \"" + printable(identity, 160) + "\" already" + where},
                   entry));
    }
    last = insert_forward(root, last, new_forward(root, forwards[entry]));
  }
  return written(root);
}

Result<std::string> with_forward_removed(std::string_view xml, std::string_view identity) {
  auto document = editable(xml);
  if (!document) return Unexpected(std::move(document).error());
  xmlNode* root = document->root();

  bool removed = false;
  for (xmlNode* child = root->children; child;) {
    xmlNode* next = child->next;
    if (is_forward(child) && identity_of(child) == identity) {
      remove_with_space(child);
      removed = true;
    }
    child = next;
  }
  if (!removed)
    return Unexpected(ErrorCode::no_such_forward,
                      "the metadata has no forward \"" + printable(identity, 160) + '"');
  return written(root);
}

Result<ChangedForward> with_forward_changed(
    std::string_view xml, std::string_view identity,
    const std::vector<std::pair<std::string, std::string>>& attributes) {
  auto document = editable(xml);
  if (!document) return Unexpected(std::move(document).error());
  xmlNode* root = document->root();

  xmlNode* element = nullptr;
  for (xmlNode* child = root->children; child && !element; child = child->next)
    if (is_forward(child) && identity_of(child) == identity) element = child;
  if (!element)
    return Unexpected(ErrorCode::no_such_forward,
                      "the metadata has no forward \"" + printable(identity, 160) + '"');
  std::vector<std::pair<std::string, std::string>> result;
  const RawElement before = raw_element(element);
  for (const auto& [name, value] : attributes)
    if (!value.empty()) result.emplace_back(name, value);
  for (const RawAttribute& kept : before.attributes) {
    const bool given = std::ranges::any_of(
        attributes, [&](const auto& attribute) { return attribute.first == kept.name; });
    if (!given) result.emplace_back(kept.name, kept.value);
  }
  auto forward = parse_forward(result);
  if (!forward) return Unexpected(std::move(forward).error());
  for (xmlNode* child = root->children; child; child = child->next)
    if (child != element && is_forward(child) && identity_of(child) == forward->identity())
      return Unexpected(ErrorCode::invalid_argument,
                        "there is a forward \"" + printable(forward->identity(), 160) +
                            "\" already, in line " + std::to_string(document->line(child)) +
                            " of the metadata");
  for (const auto& [name, value] : attributes) {
    if (value.empty())
      xmlUnsetProp(element, xml_text(name.c_str()));
    else
      xmlSetProp(element, xml_text(name.c_str()), xml_text(value.c_str()));
  }
  auto text = written(root);
  if (!text) return Unexpected(std::move(text).error());
  return ChangedForward{*std::move(text), *std::move(forward)};
}

std::string write_definitions(const Definitions& definitions) {
  const XmlDocument document = XmlDocument::make("forwards");
  xmlNode* root = document.root();
  for (const ForwardDefinition& forward : definitions.forwards)
    xmlAddChild(root, new_forward(root, forward));
  if (definitions.automatic) {
    xmlNode* automatic = new_child(root, "auto");
    set_attributes(automatic, auto_attributes(), *definitions.automatic);
    for (const AutoRule& rule : definitions.automatic->rules)
      set_attributes(new_child(automatic, "rule"), rule_attributes(), rule);
  }
  if (definitions.ssh) set_attributes(new_child(root, "ssh"), ssh_attributes(), *definitions.ssh);
  // Without a namespace until here, so that the elements need not point to it.
  xmlNewNs(root, xml_text(std::string(metadata_namespace).c_str()), nullptr);
  return element_text(root, /*indented=*/true);
}

std::string rule_text(const AutoRule& rule) {
  const XmlDocument document = XmlDocument::make("rule");
  set_attributes(document.root(), rule_attributes(), rule);
  return element_text(document.root(), /*indented=*/false);
}

}  // namespace vf
