// SPDX-License-Identifier: LGPL-2.1-or-later

#include "core/metadata_edit.h"

#include <libxml/tree.h>

#include <set>

#include "base/printable.h"
#include "core/definition_xml.h"

namespace vf {
namespace {

constexpr std::string_view written_prefix = "vf";

bool is_ours(const xmlNs* ns) {
  return namespace_of(ns) == metadata_namespace;
}

template <typename Visit>
void for_each_element(xmlNode* element, const Visit& visit) {
  visit(element);
  for (xmlNode* child = element->children; child; child = child->next)
    if (child->type == XML_ELEMENT_NODE) for_each_element(child, visit);
}

std::string unused_prefix(xmlNode* root) {
  std::set<std::string, std::less<>> used{std::string(written_prefix)};
  for_each_element(root, [&](const xmlNode* element) {
    for (const xmlNs* ns = element->nsDef; ns; ns = ns->next)
      used.emplace(view(ns->prefix));
  });
  for (int number = 1;; ++number) {
    std::string prefix = "ns" + std::to_string(number);
    if (!used.contains(prefix)) return prefix;
  }
}

void drop_declarations_of_ours(xmlNode* element) {
  for (xmlNs** link = &element->nsDef; *link;) {
    xmlNs* ns = *link;
    if (is_ours(ns)) {
      *link = ns->next;
      xmlFreeNs(ns);
    } else {
      link = &ns->next;
    }
  }
}

void leave_namespace(xmlNode* root) {
  std::set<xmlNode*> were_ours;
  for_each_element(root, [&](xmlNode* element) {
    if (is_ours(element->ns) || !element->ns) were_ours.insert(element);
    if (is_ours(element->ns)) element->ns = nullptr;
    for (xmlAttr* attribute = element->properties; attribute;) {
      xmlAttr* next = attribute->next;
      if (is_ours(attribute->ns)) {
        if (xmlHasNsProp(element, attribute->name, nullptr))
          xmlRemoveProp(attribute);
        else
          attribute->ns = nullptr;
      }
      attribute = next;
    }
  });
  for_each_element(root, drop_declarations_of_ours);

  // A default or a prefix that stood in the way moves to a prefix of its own.
  for_each_element(root, [&](xmlNode* element) {
    if (!were_ours.contains(element)) return;
    for (xmlNs* ns = element->nsDef; ns; ns = ns->next) {
      const bool clashes = element == root && view(ns->prefix) == written_prefix;
      if (ns->prefix && !clashes) continue;
      if (view(ns->href).empty()) continue;
      const std::string prefix = unused_prefix(root);
      xmlFree(const_cast<xmlChar*>(ns->prefix));
      ns->prefix = xmlStrdup(xml_text(prefix.c_str()));
    }
    const xmlNs* in_scope = xmlSearchNs(element->doc, element, nullptr);
    if (in_scope && !view(in_scope->href).empty()) xmlNewNs(element, xml_text(""), nullptr);
  });
}

bool has_content(const xmlNode* root) {
  if (root->properties) return true;
  for (const xmlNode* child = root->children; child; child = child->next)
    if (!is_blank(child)) return true;
  return false;
}

}  // namespace

bool is_blank(const xmlNode* node) {
  return node && xmlIsBlankNode(node) == 1;
}

Unexpected cannot_be_edited(const std::string& why) {
  return Unexpected(ErrorCode::invalid_argument,
                    "the metadata cannot be edited: " + why + ": \"virsh metadata DOMAIN " +
                        std::string(metadata_namespace) +
                        " --key vf --edit\" mends it, and --remove instead of --key vf --edit "
                        "takes it away; of the domain's next start with --config");
}

Result<XmlDocument> editable(std::string_view xml) {
  if (xml.empty()) return XmlDocument::make("forwards");
  XmlProblem problem;
  auto document = XmlDocument::read(xml, definition_limits,
                                    /*positions=*/true, problem);
  if (!document)
    return cannot_be_edited("line " + std::to_string(problem.line) + ": " + problem.found);
  const std::string_view home = namespace_of(document->root()->ns);
  if (view(document->root()->name) != "forwards" || (!home.empty() && home != metadata_namespace))
    return cannot_be_edited("its element is <" + printable(view(document->root()->name), 80) +
                            ">, and allowed is <forwards> of " + std::string(metadata_namespace));
  leave_namespace(document->root());
  return *std::move(document);
}

bool is_element(const xmlNode* node, std::string_view name) {
  return node->type == XML_ELEMENT_NODE && !node->ns && view(node->name) == name;
}

RawElement raw_element(const xmlNode* element) {
  RawElement raw{.name = std::string(view(element->name))};
  for (const xmlAttr* attribute = element->properties; attribute; attribute = attribute->next)
    if (!attribute->ns)
      raw.attributes.push_back(
          {.name = std::string(view(attribute->name)), .value = attribute_value(attribute)});
  return raw;
}

void remove_with_space(xmlNode* node) {
  xmlNode* space = node->prev;
  xmlUnlinkNode(node);
  xmlFreeNode(node);
  if (!is_blank(space)) return;
  xmlUnlinkNode(space);
  xmlFreeNode(space);
}

xmlNode* child_named(xmlNode* parent, std::string_view name) {
  for (xmlNode* child = parent->children; child; child = child->next)
    if (is_element(child, name)) return child;
  return nullptr;
}

xmlNode* new_element(xmlNode* near, const char* name) {
  xmlNode* element = xmlNewDocNode(near->doc, nullptr, xml_text(name), nullptr);
  if (!element) std::abort();
  return element;
}

void insert(xmlNode* parent, xmlNode* before, xmlNode* element, const std::string& indent) {
  if (!parent->children) {
    xmlAddChild(parent, xmlNewDocText(parent->doc, xml_text(("\n" + indent + "  ").c_str())));
    xmlAddChild(parent, element);
    xmlAddChild(parent, xmlNewDocText(parent->doc, xml_text(("\n" + indent).c_str())));
    return;
  }
  xmlNode* space = before ? before->prev : parent->children;
  if (before)
    xmlAddNextSibling(before, element);
  else
    xmlAddPrevSibling(parent->children, element);
  if (is_blank(space)) xmlAddPrevSibling(element, xmlDocCopyNode(space, parent->doc, 1));
}

std::string indent_of(const xmlNode* element) {
  if (!is_blank(element->prev)) return {};
  const std::string_view space = view(element->prev->content);
  const std::size_t line = space.rfind('\n');
  return line == std::string_view::npos ? std::string() : std::string(space.substr(line + 1));
}

Result<std::string> written(xmlNode* root) {
  if (!has_content(root)) return std::string();
  if (is_blank(root->children) && !root->children->next) remove_with_space(root->children);
  std::string result = element_text(root);
  if (result.size() > DefinitionLimits::document_bytes)
    return Unexpected(ErrorCode::invalid_argument,
                      "the metadata would be larger than " +
                          std::to_string(DefinitionLimits::document_bytes) + " bytes");
  return result;
}

}  // namespace vf
