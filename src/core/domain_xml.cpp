// SPDX-License-Identifier: LGPL-2.1-or-later

#include <libxml/tree.h>

#include "core/definition_xml.h"
#include "core/xml_document.h"

namespace vf {
namespace {

// More than libvirt passes over its protocol.
constexpr XmlLimits domain_limits{.bytes = 8 << 20, .depth = 256, .attributes = 1024};

xmlNode* child_named(xmlNode* parent, std::string_view name, std::string_view uri) {
  for (xmlNode* child = parent->children; child; child = child->next)
    if (child->type == XML_ELEMENT_NODE && view(child->name) == name &&
        namespace_of(child->ns) == uri)
      return child;
  return nullptr;
}

}  // namespace

Result<std::string> forwards_element(std::string_view domain_xml) {
  // Most domains have none: no tree for them.
  if (domain_xml.find(metadata_namespace) == std::string_view::npos) return std::string();
  XmlProblem problem;
  const auto document = XmlDocument::read(domain_xml, domain_limits, /*positions=*/false, problem);
  if (!document)
    return Unexpected(ErrorCode::failed, "the domain's XML, line " + std::to_string(problem.line) +
                                             ": " + problem.found);
  if (view(document->root()->name) != "domain") return std::string();
  xmlNode* metadata = child_named(document->root(), "metadata", "");
  xmlNode* forwards = metadata ? child_named(metadata, "forwards", metadata_namespace) : nullptr;
  if (!forwards) return std::string();
  // A copy declares what its ancestors did.
  const XmlDocument result = XmlDocument::make("forwards");
  xmlNode* copy = xmlDocCopyNode(forwards, result.get(), 1);
  if (!copy) std::abort();
  xmlFreeNode(xmlDocSetRootElement(result.get(), copy));
  return element_text(copy);
}

}  // namespace vf
