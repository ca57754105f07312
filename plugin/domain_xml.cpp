// SPDX-License-Identifier: LGPL-2.1-or-later

#include "plugin/domain_xml.h"

#include <libxml/parser.h>
#include <libxml/tree.h>

#include <algorithm>
#include <charconv>
#include <climits>
#include <map>
#include <memory>

namespace vf {
namespace {

struct FreeDocument {
  void operator()(xmlDocPtr document) const { xmlFreeDoc(document); }
};
using Document = std::unique_ptr<xmlDoc, FreeDocument>;

Document parse(std::string_view text) {
  if (text.size() > INT_MAX) return nullptr;
  constexpr int options = XML_PARSE_NONET | XML_PARSE_NOERROR | XML_PARSE_NOWARNING |
                          XML_PARSE_NOCDATA | XML_PARSE_NOBLANKS;
  return Document(
      xmlReadMemory(text.data(), static_cast<int>(text.size()), nullptr, nullptr, options));
}

std::string_view name_of(const xmlNode* node) {
  return reinterpret_cast<const char*>(node->name);
}

bool is_element(const xmlNode* node, std::string_view name) {
  return node->type == XML_ELEMENT_NODE && name_of(node) == name;
}

const xmlNode* child(const xmlNode* parent, std::string_view name) {
  if (!parent) return nullptr;
  for (const xmlNode* node = parent->children; node; node = node->next)
    if (is_element(node, name)) return node;
  return nullptr;
}

std::string attribute(const xmlNode* node, const char* name) {
  if (!node) return {};
  xmlChar* value = xmlGetNoNsProp(node, reinterpret_cast<const xmlChar*>(name));
  if (!value) return {};
  std::string text(reinterpret_cast<const char*>(value));
  xmlFree(value);
  return text;
}

GuestInterface parse_interface(const xmlNode* node) {
  GuestInterface interface;
  interface.type = attribute(node, "type");
  interface.mac = attribute(child(node, "mac"), "address");
  std::transform(interface.mac.begin(), interface.mac.end(), interface.mac.begin(),
                 [](char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c + 32) : c; });
  interface.bridge = attribute(child(node, "source"), "bridge");
  interface.target = attribute(child(node, "target"), "dev");
  interface.alias = attribute(child(node, "alias"), "name");
  interface.backend = attribute(child(node, "backend"), "type");
  return interface;
}

std::optional<std::uint32_t> parse_cid(const xmlNode* vsock) {
  const std::string text = attribute(child(vsock, "cid"), "address");
  std::uint32_t cid = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), cid);
  // 0 to 2 are the hypervisor, the local machine and the host.
  if (error != std::errc{} || end != text.data() + text.size() || cid < 3) return std::nullopt;
  return cid;
}

bool is_connected_agent(const xmlNode* channel) {
  const xmlNode* target = child(channel, "target");
  return attribute(target, "name") == "org.qemu.guest_agent.0" &&
         attribute(target, "state") == "connected";
}

std::string trimmed(const xmlNode* text_node) {
  std::string_view text =
      text_node->content ? reinterpret_cast<const char*>(text_node->content) : "";
  constexpr std::string_view space = " \t\r\n";
  const auto begin = text.find_first_not_of(space);
  if (begin == std::string_view::npos) return {};
  return std::string(text.substr(begin, text.find_last_not_of(space) - begin + 1));
}

std::map<std::string, std::string> attributes_of(const xmlNode* node) {
  std::map<std::string, std::string> attributes;
  for (const xmlAttr* item = node->properties; item; item = item->next) {
    std::string name = reinterpret_cast<const char*>(item->name);
    if (item->ns && item->ns->href)
      name.insert(0, std::string(reinterpret_cast<const char*>(item->ns->href)) + ' ');
    attributes[name] = item->children ? trimmed(item->children) : std::string();
  }
  return attributes;
}

// The next sibling, from `node` on, that counts.
const xmlNode* meaningful(const xmlNode* node) {
  while (node && node->type != XML_ELEMENT_NODE &&
         !(node->type == XML_TEXT_NODE && !trimmed(node).empty()))
    node = node->next;
  return node;
}

// Depth is bounded by libxml2's own limit of 256.
bool same(const xmlNode* one, const xmlNode* other) {
  if (one->type != other->type) return false;
  if (one->type == XML_TEXT_NODE) return trimmed(one) == trimmed(other);
  if (name_of(one) != name_of(other) || attributes_of(one) != attributes_of(other)) return false;
  const xmlNode* a = meaningful(one->children);
  const xmlNode* b = meaningful(other->children);
  for (; a && b; a = meaningful(a->next), b = meaningful(b->next))
    if (!same(a, b)) return false;
  return !a && !b;
}

}  // namespace

DomainDevices parse_devices(std::string_view domain_xml) {
  DomainDevices result;
  const Document document = parse(domain_xml);
  const xmlNode* root = document ? xmlDocGetRootElement(document.get()) : nullptr;
  const xmlNode* devices = child(root, "devices");
  if (!devices) return result;
  for (const xmlNode* node = devices->children; node; node = node->next) {
    if (is_element(node, "interface")) result.interfaces.push_back(parse_interface(node));
    if (is_element(node, "vsock")) result.vsock_cid = parse_cid(node);
    if (is_element(node, "channel") && is_connected_agent(node)) result.guest_agent = true;
  }
  return result;
}

bool same_element(std::string_view one, std::string_view other) {
  const Document first = parse(one);
  const Document second = parse(other);
  const xmlNode* a = first ? xmlDocGetRootElement(first.get()) : nullptr;
  const xmlNode* b = second ? xmlDocGetRootElement(second.get()) : nullptr;
  return a && b && same(a, b);
}

}  // namespace vf
