// SPDX-License-Identifier: LGPL-2.1-or-later
//
// A new document, or an edit of one that others write to as well: what is not ours stays, and the
// result is what virDomainSetMetadata takes. That call declares our namespace under a prefix of its
// own at the root and puts every element without a namespace into it, and fails when the root
// declares that prefix already. So our elements lose their namespace here, and no declaration of
// the root may use the prefix or stand as the default for elements that now have none.

#include <libxml/tree.h>

#include <algorithm>
#include <memory>
#include <set>

#include "base/printable.h"
#include "core/definition_reader.h"
#include "core/definition_schema.h"
#include "core/definition_xml.h"
#include "core/xml_document.h"

namespace vf {
namespace {

constexpr std::string_view written_prefix = "vf";

bool is_ours(const xmlNs* ns) {
  return namespace_of(ns) == metadata_namespace;
}

bool is_blank(const xmlNode* node) {
  return node && xmlIsBlankNode(node) == 1;
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

template <typename Element>
void set_attributes(xmlNode* node, const AttributeTable<Element>& table, const Element& element) {
  for (const auto& row : table)
    if (const auto value = row.write(element))
      xmlNewProp(node, xml_text(std::string(row.name).c_str()), xml_text(value->c_str()));
}

xmlNode* new_child(xmlNode* parent, const char* name) {
  xmlNode* child = xmlNewDocNode(parent->doc, nullptr, xml_text(name), nullptr);
  if (!child) std::abort();
  return xmlAddChild(parent, child);
}

// The document for an edit, without our namespace; `errors` when it cannot be edited.
Result<XmlDocument> editable(std::string_view xml) {
  if (xml.empty()) return XmlDocument::make("forwards");
  XmlProblem problem;
  auto document = XmlDocument::read(xml, definition_limits,
                                    /*positions=*/true, problem);
  if (!document)
    return Unexpected(ErrorCode::invalid_argument, "the metadata cannot be edited: line " +
                                                       std::to_string(problem.line) + ": " +
                                                       problem.found);
  const std::string_view home = namespace_of(document->root()->ns);
  if (view(document->root()->name) != "forwards" || (!home.empty() && home != metadata_namespace))
    return Unexpected(ErrorCode::invalid_argument,
                      "the metadata cannot be edited: its element is not ours but <" +
                          printable(view(document->root()->name), 80) + ">");
  return *std::move(document);
}

bool is_element(const xmlNode* node, std::string_view name) {
  return node->type == XML_ELEMENT_NODE && !node->ns && view(node->name) == name;
}

bool is_forward(const xmlNode* node) {
  return is_element(node, "forward");
}

RawElement raw_element(const xmlNode* element) {
  RawElement raw{.name = std::string(view(element->name))};
  for (const xmlAttr* attribute = element->properties; attribute; attribute = attribute->next)
    if (!attribute->ns)
      raw.attributes.push_back(
          {.name = std::string(view(attribute->name)), .value = attribute_value(attribute)});
  return raw;
}

// The identity of a forward in an unprefixed document, also of one that is wrong where it can be
// told; else empty.
std::string identity_of(const xmlNode* element) {
  std::vector<DefinitionError> errors;
  const auto forward = read_forward(raw_element(element), errors);
  if (forward) return forward->identity();
  return errors.empty() ? std::string() : errors.front().identity;
}

// A forward takes the white space in front of it along.
void remove_with_space(xmlNode* node) {
  xmlNode* space = node->prev;
  xmlUnlinkNode(node);
  xmlFreeNode(node);
  if (!is_blank(space)) return;
  xmlUnlinkNode(space);
  xmlFreeNode(space);
}

bool has_content(const xmlNode* root) {
  if (root->properties) return true;
  for (const xmlNode* child = root->children; child; child = child->next)
    if (!is_blank(child)) return true;
  return false;
}

xmlNode* new_forward(xmlNode* root, const ForwardDefinition& forward) {
  xmlNode* element = xmlNewDocNode(root->doc, nullptr, xml_text("forward"), nullptr);
  if (!element) std::abort();
  set_attributes(element, forward_attributes(), forward);
  return element;
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

// Puts `element` behind `before`, or first where that is null, on a line of its own where its
// parent has lines.
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

// What stands in front of the element in its line.
std::string indent_of(const xmlNode* element) {
  if (!is_blank(element->prev)) return {};
  const std::string_view space = view(element->prev->content);
  const std::size_t line = space.rfind('\n');
  return line == std::string_view::npos ? std::string() : std::string(space.substr(line + 1));
}

// The <auto>, or a new one that leaves the switch as it is without any.
xmlNode* automatic_of(xmlNode* root) {
  if (xmlNode* automatic = child_named(root, "auto")) return automatic;
  xmlNode* last = nullptr;
  for (xmlNode* child = root->children; child; child = child->next)
    if (is_forward(child)) last = child;
  xmlNode* automatic = new_element(root, "auto");
  xmlNewProp(automatic, xml_text("enabled"), xml_text("policy"));
  insert(root, last, automatic, "");
  return automatic;
}

// A rule as with_block_added() makes it.
std::optional<AutoRule> marked_block(const xmlNode* node) {
  if (!is_element(node, "rule")) return std::nullopt;
  std::vector<DefinitionError> errors;
  auto rule = read_rule(raw_element(node), errors);
  if (!rule || !rule->marked || rule->action != RuleAction::block || !rule->guest_port)
    return std::nullopt;
  const AutoRule made{.action = RuleAction::block,
                      .guest_port = rule->guest_port,
                      .protocol = rule->protocol,
                      .marked = true};
  if (*rule != made) return std::nullopt;
  return rule;
}

xmlNode* new_block(xmlNode* near, Protocol protocol, PortRange ports) {
  xmlNode* element = new_element(near, "rule");
  set_attributes(
      element, rule_attributes(),
      AutoRule{
          .action = RuleAction::block, .guest_port = ports, .protocol = protocol, .marked = true});
  return element;
}

// An <auto> that says nothing: without it the policy decides as well.
bool says_nothing(const xmlNode* automatic) {
  const RawElement raw = raw_element(automatic);
  const bool policy = raw.attributes.size() == 1 && raw.attributes[0].name == "enabled" &&
                      raw.attributes[0].value == "policy";
  if (!policy || automatic->properties->next) return false;
  for (const xmlNode* child = automatic->children; child; child = child->next)
    if (!is_blank(child)) return false;
  return true;
}

// The edited document; empty when nothing is left of it.
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

}  // namespace

Result<std::string> with_forward_added(std::string_view xml, const ForwardDefinition& forward) {
  auto document = editable(xml);
  if (!document) return Unexpected(std::move(document).error());
  xmlNode* root = document->root();
  leave_namespace(root);

  const std::string identity = forward.identity();
  xmlNode* last = nullptr;
  for (xmlNode* child = root->children; child; child = child->next) {
    if (!is_forward(child)) continue;
    last = child;
    if (identity_of(child) != identity) continue;
    const int line = document->line(child);
    return Unexpected(ErrorCode::invalid_argument,
                      "there is a forward \"" + printable(identity, 160) + "\" already, in line " +
                          std::to_string(line) + " of the metadata");
  }

  xmlNode* element = new_forward(root, forward);
  xmlNode* space = last ? last->prev : root->children;
  if (!root->children) {
    // Laid out as virDomainGetMetadata does.
    xmlAddChild(root, xmlNewDocText(root->doc, xml_text("\n  ")));
    xmlAddChild(root, element);
    xmlAddChild(root, xmlNewDocText(root->doc, xml_text("\n")));
  } else if (last) {
    xmlAddNextSibling(last, element);
    if (is_blank(space)) xmlAddPrevSibling(element, xmlDocCopyNode(space, root->doc, 1));
  } else {
    xmlAddPrevSibling(root->children, element);
    if (is_blank(space)) xmlAddPrevSibling(element, xmlDocCopyNode(space, root->doc, 1));
  }
  return written(root);
}

Result<std::string> with_forward_removed(std::string_view xml, std::string_view identity) {
  auto document = editable(xml);
  if (!document) return Unexpected(std::move(document).error());
  xmlNode* root = document->root();
  leave_namespace(root);

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
  leave_namespace(root);

  xmlNode* element = nullptr;
  for (xmlNode* child = root->children; child && !element; child = child->next)
    if (is_forward(child) && identity_of(child) == identity) element = child;
  if (!element)
    return Unexpected(ErrorCode::no_such_forward,
                      "the metadata has no forward \"" + printable(identity, 160) + '"');
  std::vector<std::pair<std::string, std::string>> result;
  for (const auto& [name, value] : attributes)
    if (!value.empty()) result.emplace_back(name, value);
  for (const RawAttribute& kept : raw_element(element).attributes) {
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

Result<std::string> with_block_added(std::string_view xml, Protocol protocol, PortRange ports) {
  auto document = editable(xml);
  if (!document) return Unexpected(std::move(document).error());
  xmlNode* root = document->root();
  leave_namespace(root);
  std::size_t rules = 0;
  bool in_front = true;
  if (xmlNode* automatic = child_named(root, "auto"))
    for (const xmlNode* child = automatic->children; child; child = child->next) {
      if (!is_element(child, "rule")) continue;
      ++rules;
      const auto block = marked_block(child);
      in_front = in_front && block;
      // Other rules in front of it could forward the port.
      if (in_front && block->protocol == protocol && block->guest_port->contains(ports.low()) &&
          block->guest_port->contains(ports.high()))
        return std::string(xml);
    }
  if (rules >= DefinitionLimits::rules)
    return Unexpected(ErrorCode::invalid_argument, "the metadata has " + std::to_string(rules) +
                                                       " rules already, the most there can be");
  xmlNode* automatic = automatic_of(root);
  insert(automatic, nullptr, new_block(root, protocol, ports), indent_of(automatic));
  return written(root);
}

Result<std::string> with_block_removed(std::string_view xml, Protocol protocol, PortRange ports) {
  auto document = editable(xml);
  if (!document) return Unexpected(std::move(document).error());
  xmlNode* root = document->root();
  leave_namespace(root);
  xmlNode* automatic = child_named(root, "auto");
  bool removed = false;
  std::size_t rules = 0;
  for (xmlNode* child = automatic ? automatic->children : nullptr; child;) {
    xmlNode* next = child->next;
    rules += is_element(child, "rule");
    const auto block = marked_block(child);
    if (block && block->protocol == protocol && block->guest_port->low() <= ports.high() &&
        ports.low() <= block->guest_port->high()) {
      // What it blocks besides stays blocked.
      if (ports.high() < block->guest_port->high()) {
        const auto above =
            PortRange::from(*Port::from(ports.high().number() + 1u), block->guest_port->high());
        insert(automatic, child, new_block(root, protocol, *above), "");
        ++rules;
      }
      if (block->guest_port->low() < ports.low()) {
        const auto below =
            PortRange::from(block->guest_port->low(), *Port::from(ports.low().number() - 1u));
        insert(automatic, child, new_block(root, protocol, *below), "");
        ++rules;
      }
      remove_with_space(child);
      --rules;
      removed = true;
    }
    child = next;
  }
  if (!removed) return std::string(xml);
  if (rules > DefinitionLimits::rules)
    return Unexpected(ErrorCode::invalid_argument,
                      "the metadata would have more rules than there can be");
  if (says_nothing(automatic))
    remove_with_space(automatic);
  else if (is_blank(automatic->children) && !automatic->children->next)
    remove_with_space(automatic->children);
  return written(root);
}

Result<std::string> with_automatic(std::string_view xml, AutoMode mode) {
  auto document = editable(xml);
  if (!document) return Unexpected(std::move(document).error());
  xmlNode* root = document->root();
  leave_namespace(root);
  xmlNode* automatic = child_named(root, "auto");
  if (!automatic && mode == AutoMode::policy) return std::string(xml);
  if (automatic) {
    std::vector<DefinitionError> errors;
    const auto read = read_auto(raw_element(automatic), errors);
    if (read && read->enabled == mode) return std::string(xml);
  } else {
    automatic = automatic_of(root);
  }
  xmlSetProp(automatic, xml_text("enabled"), xml_text(std::string(text(mode)).c_str()));
  if (says_nothing(automatic)) remove_with_space(automatic);
  return written(root);
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

}  // namespace vf
