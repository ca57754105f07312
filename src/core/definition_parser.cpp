// SPDX-License-Identifier: LGPL-2.1-or-later

#include <algorithm>
#include <map>

#include "base/printable.h"
#include "core/definition_reader.h"
#include "core/definition_xml.h"
#include "core/xml_document.h"

namespace vf {
namespace {

constexpr std::size_t name_bytes = 80;

// Walks one document. Elements of other namespaces are somebody else's, with all that is in them.
class DocumentReader {
 public:
  DocumentReader(const XmlDocument& document, ParsedDefinitions& result)
      : document_(document), result_(result), home_(namespace_of(document.root()->ns)) {}

  void read() {
    const xmlNode* root = document_.root();
    if (view(root->name) != "forwards" || (!home_.empty() && home_ != metadata_namespace)) {
      reject(root, "not our element",
             "forwards of the namespace " + std::string(metadata_namespace));
      return;
    }
    read_forwards(raw(root), result_.errors);
    check_text(root);
    for_each_child(root, "<forward>, <auto> and <ssh>", [this](const xmlNode* child) {
      const std::string_view name = view(child->name);
      if (name == "forward") return read_one_forward(child), true;
      if (name == "auto") return read_one_auto(child), true;
      if (name == "ssh") return read_one_ssh(child), true;
      return false;
    });
  }

 private:
  enum class Origin { ours, foreign, nobody };

  Origin origin_of(const xmlNs* ns) const {
    const std::string_view uri = namespace_of(ns);
    if (uri == metadata_namespace) return Origin::ours;
    if (!uri.empty()) return Origin::foreign;
    return home_.empty() ? Origin::ours : Origin::nobody;
  }

  std::string name_of(const xmlNode* element) const {
    return printable(view(element->name), name_bytes);
  }

  void reject(const xmlNode* element, std::string found, std::string allowed) {
    result_.errors.push_back({.line = document_.line(element),
                              .element = name_of(element),
                              .found = std::move(found),
                              .allowed = std::move(allowed)});
  }

  bool full() const { return result_.errors.size() >= DefinitionLimits::errors; }

  // `visit` returns false for an element that does not belong there.
  template <typename Visit>
  void for_each_child(const xmlNode* parent, const std::string& known, Visit visit) {
    for (const xmlNode* child = parent->children; child && !full(); child = child->next) {
      if (child->type != XML_ELEMENT_NODE) continue;
      switch (origin_of(child->ns)) {
        case Origin::foreign:
          break;
        case Origin::nobody:
          reject(child, "element without a namespace",
                 "elements of " + std::string(metadata_namespace) + " or of another namespace");
          break;
        case Origin::ours:
          if (!visit(child)) reject(child, "unknown element in <" + name_of(parent) + ">", known);
      }
    }
  }

  void check_text(const xmlNode* element) {
    if (const int line = document_.text_line(element))
      result_.errors.push_back({.line = line,
                                .element = name_of(element),
                                .found = "text",
                                .allowed = "attributes and elements only"});
  }

  void check_leaf(const xmlNode* element) {
    check_text(element);
    for_each_child(element, "no elements", [](const xmlNode*) { return false; });
  }

  // Attributes of ours; one in our namespace is reported, as ours have none.
  RawElement raw(const xmlNode* element) {
    RawElement result{.name = name_of(element), .line = document_.line(element)};
    const std::vector<int> lines = document_.attribute_lines(element);
    std::size_t index = 0;
    for (const xmlAttr* attribute = element->properties; attribute; attribute = attribute->next) {
      const int line = index < lines.size() ? lines[index] : result.line;
      ++index;
      if (!attribute->ns) {
        result.attributes.push_back(
            {std::string(view(attribute->name)), attribute_value(attribute), line});
      } else if (view(attribute->ns->href) == metadata_namespace && !full()) {
        result_.errors.push_back({.line = line,
                                  .element = result.name,
                                  .attribute = printable(view(attribute->name), name_bytes),
                                  .found = printable(attribute_value(attribute), name_bytes),
                                  .allowed = "attributes without a prefix"});
      }
    }
    return result;
  }

  bool out_of_order(const xmlNode* element, const xmlNode* later) {
    if (!later) return false;
    reject(element, "behind <" + name_of(later) + ">", "first <forward>, then <auto>, then <ssh>");
    return true;
  }

  void read_one_forward(const xmlNode* element) {
    const std::size_t errors_before = result_.errors.size();
    const auto forward = vf::read_forward(raw(element), result_.errors);
    check_leaf(element);
    out_of_order(element, ssh_ ? ssh_ : auto_);
    if (++forward_count_ == DefinitionLimits::forwards + 1)
      reject(element, "one too many", std::to_string(DefinitionLimits::forwards));
    if (forward_count_ > DefinitionLimits::forwards) return;

    const bool clean = result_.errors.size() == errors_before;
    if (!forward || !clean) {
      for (std::size_t index = errors_before; forward && index < result_.errors.size(); ++index)
        result_.errors[index].identity = forward->identity();
      return;
    }
    const std::string identity = forward->identity();
    const auto [first, is_new] = identities_.emplace(identity, document_.line(element));
    if (is_new) {
      result_.definitions.forwards.push_back(*forward);
      return;
    }
    const std::string earlier = "line " + std::to_string(first->second);
    DefinitionError error{
        .line = document_.line(element), .element = "forward", .identity = identity};
    if (forward->name.empty()) {
      error.found = printable(identity, name_bytes) + ", as in " + earlier;
      error.allowed = "other ports, addresses or sockets, or a name";
    } else {
      error.attribute = "name";
      error.found = printable(identity, name_bytes);
      error.allowed = "names of no other forward; " + earlier + " has this one";
    }
    result_.errors.push_back(std::move(error));
  }

  void read_one_auto(const xmlNode* element) {
    const std::size_t errors_before = result_.errors.size();
    auto automatic = vf::read_auto(raw(element), result_.errors);
    check_text(element);
    std::vector<AutoRule> rules;
    std::size_t rule_count = 0;
    for_each_child(element, "<rule>", [&](const xmlNode* child) {
      if (view(child->name) != "rule") return false;
      if (++rule_count > DefinitionLimits::rules) {
        if (rule_count == DefinitionLimits::rules + 1)
          reject(child, "one too many", std::to_string(DefinitionLimits::rules));
        return true;
      }
      const auto rule = vf::read_rule(raw(child), result_.errors);
      check_leaf(child);
      if (rule) rules.push_back(*rule);
      return true;
    });
    if (!once(element, auto_)) return;
    out_of_order(element, ssh_);
    auto_ = element;
    // First match wins: without one of its rules the rest could forward what that rule blocks.
    if (!automatic || result_.errors.size() != errors_before) {
      result_.definitions.automatic = AutoDefinition{.enabled = AutoMode::no, .rules = {}};
      return;
    }
    automatic->rules = std::move(rules);
    result_.definitions.automatic = std::move(automatic);
  }

  void read_one_ssh(const xmlNode* element) {
    const std::size_t errors_before = result_.errors.size();
    auto ssh = vf::read_ssh(raw(element), result_.errors);
    check_leaf(element);
    if (!once(element, ssh_)) return;
    ssh_ = element;
    if (result_.errors.size() == errors_before) result_.definitions.ssh = std::move(ssh);
  }

  bool once(const xmlNode* element, const xmlNode* earlier) {
    if (!earlier) return true;
    reject(element, "the first is in line " + std::to_string(document_.line(earlier)),
           "one <" + name_of(element) + "> at most");
    return false;
  }

  const XmlDocument& document_;
  ParsedDefinitions& result_;
  std::string_view home_;  // namespace of the root
  std::size_t forward_count_ = 0;
  std::map<std::string, int> identities_;  // to the line
  const xmlNode* auto_ = nullptr;
  const xmlNode* ssh_ = nullptr;
};

}  // namespace

std::string DefinitionError::text() const {
  std::string result;
  if (line > 0) result = "line " + std::to_string(line) + ": ";
  if (!element.empty()) result += '<' + element + '>';
  if (!attribute.empty())
    return result + (element.empty() ? "" : " ") + attribute + "=\"" + found + "\": allowed are " +
           allowed;
  return result + (element.empty() ? "" : ": ") + found + "; allowed are " + allowed;
}

ParsedDefinitions parse_definitions(std::string_view xml) {
  ParsedDefinitions result;
  if (xml.empty()) return result;
  XmlProblem problem;
  const auto document = XmlDocument::read(xml, definition_limits,
                                          /*positions=*/true, problem);
  if (!document) {
    result.errors.push_back(
        {.line = problem.line, .found = problem.found, .allowed = problem.allowed});
    return result;
  }
  DocumentReader(*document, result).read();
  std::stable_sort(result.errors.begin(), result.errors.end(),
                   [](const auto& left, const auto& right) { return left.line < right.line; });
  if (result.errors.size() >= DefinitionLimits::errors)
    result.errors.push_back(
        {.line = result.errors.back().line,
         .found = "too much is wrong to report it all",
         .allowed = "at most " + std::to_string(DefinitionLimits::errors) + " errors"});
  return result;
}

Result<ForwardDefinition> parse_forward(
    const std::vector<std::pair<std::string, std::string>>& attributes) {
  RawElement element{.name = "forward"};
  for (const auto& [name, value] : attributes)
    element.attributes.push_back({.name = name, .value = value});
  std::vector<DefinitionError> errors;
  auto forward = read_forward(element, errors);
  if (forward) return *std::move(forward);
  std::string message;
  for (DefinitionError& error : errors) {
    error.element.clear();
    message += (message.empty() ? "" : "\n") + error.text();
  }
  return Unexpected(ErrorCode::invalid_argument, std::move(message));
}

}  // namespace vf
