// SPDX-License-Identifier: LGPL-2.1-or-later
//
// Documents of unknown origin, read with libxml2 from memory: no network, no DTD and so no
// entities, bounded size and depth, nothing on stderr.

#pragma once

#include <libxml/tree.h>

#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

namespace vf {

struct XmlLimits {
  std::size_t bytes;
  std::size_t depth;
  std::size_t attributes;  // of one element; libxml2 takes time by their square
};

// Why a document was refused. `found` is printable.
struct XmlProblem {
  int line = 0;
  std::string found;
  std::string allowed;
};

class XmlDocument {
 public:
  // The document, or the first thing wrong with it in `problem`. `text` must outlive the result;
  // with `positions` unset the lines below are not known.
  static std::optional<XmlDocument> read(std::string_view text, XmlLimits limits, bool positions,
                                         XmlProblem& problem);
  // With an empty root element.
  static XmlDocument make(const char* root);

  xmlDoc* get() const { return document_.get(); }
  // Never null.
  xmlNode* root() const { return xmlDocGetRootElement(document_.get()); }

  // Where the element's start tag begins, and where the first text in the element that is not white
  // space stands; from 1, 0 when not known.
  int line(const xmlNode* element) const;
  int text_line(const xmlNode* element) const;
  // Where its attributes stand, in the order of its properties; none when not known.
  std::vector<int> attribute_lines(const xmlNode* element) const;

 private:
  struct Free {
    void operator()(xmlDoc* document) const { xmlFreeDoc(document); }
  };
  struct Position {
    std::size_t offset = 0;
    int line = 0;
    int text_line = 0;
  };
  struct Reader;

  XmlDocument() = default;

  std::string_view text_;
  std::unique_ptr<xmlDoc, Free> document_;
  std::unordered_map<const xmlNode*, Position> positions_;
};

inline std::string_view view(const xmlChar* text) {
  return text ? std::string_view(reinterpret_cast<const char*>(text)) : std::string_view();
}

inline const xmlChar* xml_text(const char* text) {
  return reinterpret_cast<const xmlChar*>(text);
}

// The namespace of an element or attribute; empty for none.
inline std::string_view namespace_of(const xmlNs* ns) {
  return ns ? view(ns->href) : std::string_view();
}

std::string attribute_value(const xmlAttr* attribute);

// One element as text, with the namespaces that it declares itself; `indented` as a document that
// has no white space of its own.
std::string element_text(xmlNode* element, bool indented = false);

}  // namespace vf
