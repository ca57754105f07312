// SPDX-License-Identifier: LGPL-2.1-or-later
//
// Edits of <auto>. The rules that they make are marked. Those of ports stand in front of what
// somebody wrote, and no port has both a block and an allow, so their order says nothing. The allow
// of a process stands directly before the rule that asked: what is decided before that stays so.

#include <libxml/tree.h>

#include <algorithm>

#include "core/auto_rules.h"
#include "core/definition_reader.h"
#include "core/definition_schema.h"
#include "core/definition_xml.h"
#include "core/glob.h"
#include "core/metadata_edit.h"
#include "core/xml_document.h"

namespace vf {
namespace {

// The <auto>, or a new one that leaves the switch as it is without any.
xmlNode* automatic_of(xmlNode* root) {
  if (xmlNode* automatic = child_named(root, "auto")) return automatic;
  xmlNode* last = nullptr;
  for (xmlNode* child = root->children; child; child = child->next)
    if (is_element(child, "forward")) last = child;
  xmlNode* automatic = new_element(root, "auto");
  xmlNewProp(automatic, xml_text("enabled"), xml_text("policy"));
  insert(root, last, automatic, "");
  return automatic;
}

std::optional<AutoRule> rule_at(const xmlNode* node) {
  if (!is_element(node, "rule")) return std::nullopt;
  std::vector<DefinitionError> errors;
  return read_rule(raw_element(node), errors);
}

std::optional<AutoRule> marked_rule(const xmlNode* node) {
  auto rule = rule_at(node);
  if (!rule || !rule->marked) return std::nullopt;
  return rule;
}

// A rule as with_block_added() makes it.
std::optional<AutoRule> marked_block(const xmlNode* node) {
  auto rule = marked_rule(node);
  if (!rule || rule->action != RuleAction::block || !rule->guest_port) return std::nullopt;
  const AutoRule made{.action = RuleAction::block,
                      .guest_port = rule->guest_port,
                      .protocol = rule->protocol,
                      .marked = true};
  if (*rule != made) return std::nullopt;
  return rule;
}

// One as with_allow_added() makes it.
std::optional<AutoRule> marked_allow(const xmlNode* node) {
  auto rule = marked_rule(node);
  if (!rule || rule->action != RuleAction::forward) return std::nullopt;
  return rule;
}

bool contains(const PortRange& outer, const PortRange& inner) {
  return outer.contains(inner.low()) && outer.contains(inner.high());
}

bool overlap(const PortRange& one, const PortRange& other) {
  return one.low() <= other.high() && other.low() <= one.high();
}

// Whether it can match one of these ports.
bool concerns(const AutoRule& rule, Protocol protocol, PortRange ports) {
  return rule.protocol == protocol && (!rule.guest_port || overlap(*rule.guest_port, ports));
}

xmlNode* new_rule(xmlNode* near, const AutoRule& rule) {
  xmlNode* element = new_element(near, "rule");
  set_attributes(element, rule_attributes(), rule);
  return element;
}

xmlNode* new_block(xmlNode* near, Protocol protocol, PortRange ports) {
  return new_rule(
      near,
      {.action = RuleAction::block, .guest_port = ports, .protocol = protocol, .marked = true});
}

std::size_t rules_of(const xmlNode* automatic) {
  std::size_t rules = 0;
  for (const xmlNode* child = automatic ? automatic->children : nullptr; child; child = child->next)
    rules += is_element(child, "rule");
  return rules;
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

// What is blocked besides stays blocked. Whether any of them was.
bool take_out_of_blocks(xmlNode* automatic, Protocol protocol, PortRange ports) {
  bool removed = false;
  for (xmlNode* child = automatic ? automatic->children : nullptr; child;) {
    xmlNode* next = child->next;
    const auto block = marked_block(child);
    if (block && concerns(*block, protocol, ports)) {
      if (ports.high() < block->guest_port->high()) {
        const auto above =
            PortRange::from(*Port::from(ports.high().number() + 1u), block->guest_port->high());
        insert(automatic, child, new_block(automatic, protocol, *above), "");
      }
      if (block->guest_port->low() < ports.low()) {
        const auto below =
            PortRange::from(block->guest_port->low(), *Port::from(ports.low().number() - 1u));
        insert(automatic, child, new_block(automatic, protocol, *below), "");
      }
      remove_with_space(child);
      removed = true;
    }
    child = next;
  }
  return removed;
}

// Those of these ports alone: they would stand behind a block for ever.
void remove_allows(xmlNode* automatic, Protocol protocol, PortRange ports) {
  for (xmlNode* child = automatic->children; child;) {
    xmlNode* next = child->next;
    const auto allow = marked_allow(child);
    if (allow && allow->process.empty() && allow->protocol == protocol && allow->guest_port &&
        contains(ports, *allow->guest_port))
      remove_with_space(child);
    child = next;
  }
}

AutoRule part_of(AutoRule allow, PortRange ports) {
  if (auto* host = std::get_if<PortRange>(&allow.host); host && allow.guest_port)
    *host = same_part(*host, *allow.guest_port, ports);
  allow.guest_port = ports;
  return allow;
}

// What is allowed besides stays allowed.
void take_out_of_allow(xmlNode* automatic, xmlNode* node, const AutoRule& allow, PortRange ports) {
  const PortRange had = *allow.guest_port;
  if (ports.high() < had.high()) {
    const auto above = PortRange::from(*Port::from(ports.high().number() + 1u), had.high());
    insert(automatic, node, new_rule(automatic, part_of(allow, *above)), "");
  }
  if (had.low() < ports.low()) {
    const auto below = PortRange::from(had.low(), *Port::from(ports.low().number() - 1u));
    insert(automatic, node, new_rule(automatic, part_of(allow, *below)), "");
  }
  remove_with_space(node);
}

// After rules have gone.
void tidy(xmlNode* automatic) {
  if (says_nothing(automatic))
    remove_with_space(automatic);
  else if (automatic->children && is_blank(automatic->children) && !automatic->children->next)
    remove_with_space(automatic->children);
}

Error too_many_rules() {
  return {ErrorCode::invalid_argument, "the metadata would have more than " +
                                           std::to_string(DefinitionLimits::rules) +
                                           " rules, the most there can be"};
}

}  // namespace

Result<std::string> with_block_added(std::string_view xml, Protocol protocol, PortRange ports) {
  auto document = editable(xml);
  if (!document) return Unexpected(std::move(document).error());
  xmlNode* root = document->root();
  if (xmlNode* automatic = child_named(root, "auto")) {
    for (const xmlNode* child = automatic->children; child; child = child->next) {
      if (!is_element(child, "rule")) continue;
      const auto block = marked_block(child);
      if (block && block->protocol == protocol && contains(*block->guest_port, ports))
        return std::string(xml);
      // Other rules in front of it could forward the port.
      if (const auto rule = marked_rule(child);
          !rule || (!block && concerns(*rule, protocol, ports)))
        break;
    }
    remove_allows(automatic, protocol, ports);
  }
  xmlNode* automatic = automatic_of(root);
  if (rules_of(automatic) >= DefinitionLimits::rules) return Unexpected(too_many_rules());
  insert(automatic, nullptr, new_block(root, protocol, ports), indent_of(automatic));
  return written(root);
}

Result<std::string> with_block_removed(std::string_view xml, Protocol protocol, PortRange ports) {
  auto document = editable(xml);
  if (!document) return Unexpected(std::move(document).error());
  xmlNode* root = document->root();
  xmlNode* automatic = child_named(root, "auto");
  if (!take_out_of_blocks(automatic, protocol, ports)) return std::string(xml);
  if (rules_of(automatic) > DefinitionLimits::rules) return Unexpected(too_many_rules());
  tidy(automatic);
  return written(root);
}

Result<std::string> with_allow_added(std::string_view xml, AutoRule rule, PortRange ports,
                                     const AutoRule* asking) {
  rule.action = RuleAction::forward;
  rule.marked = true;
  auto document = editable(xml);
  if (!document) return Unexpected(std::move(document).error());
  xmlNode* root = document->root();
  xmlNode* automatic = automatic_of(root);
  const bool unblocked = take_out_of_blocks(automatic, rule.protocol, ports);
  xmlNode* before = nullptr;  // the rule behind which the new one goes
  for (xmlNode* child = automatic->children; child; child = child->next) {
    if (!is_element(child, "rule")) continue;
    const auto found = rule_at(child);
    if (found == rule) return unblocked ? written(root) : std::string(xml);
    if (rule.process.empty() ? !found || !found->marked : asking && found == *asking) break;
    before = child;
  }
  if (rule.process.empty()) {
    remove_allows(automatic, rule.protocol, ports);
    before = nullptr;
  }
  if (rules_of(automatic) >= DefinitionLimits::rules) return Unexpected(too_many_rules());
  insert(automatic, before, new_rule(root, rule), indent_of(automatic));
  return written(root);
}

Result<std::string> with_allow_removed(std::string_view xml, const TakenBack& what) {
  auto document = editable(xml);
  if (!document) return Unexpected(std::move(document).error());
  xmlNode* root = document->root();
  xmlNode* automatic = child_named(root, "auto");
  const std::string process = what.process.empty() ? "" : literal_glob(what.process);
  bool removed = false;
  for (xmlNode* child = automatic ? automatic->children : nullptr; child;) {
    xmlNode* next = child->next;
    const auto allow = marked_allow(child);
    if (allow && process.empty() && allow->process.empty() && allow->guest_port &&
        concerns(*allow, what.protocol, what.ports)) {
      take_out_of_allow(automatic, child, *allow, what.ports);
      removed = true;
    } else if (allow && (process.empty() ? std::ranges::find(what.rules, *allow) != what.rules.end()
                                         : allow->process == process &&
                                               concerns(*allow, what.protocol, what.ports))) {
      remove_with_space(child);
      removed = true;
    }
    child = next;
  }
  if (!removed) return std::string(xml);
  if (rules_of(automatic) > DefinitionLimits::rules) return Unexpected(too_many_rules());
  tidy(automatic);
  return written(root);
}

Result<std::string> with_automatic(std::string_view xml, AutoMode mode) {
  auto document = editable(xml);
  if (!document) return Unexpected(std::move(document).error());
  xmlNode* root = document->root();
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

}  // namespace vf
