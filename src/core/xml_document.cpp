// SPDX-License-Identifier: LGPL-2.1-or-later

#include "core/xml_document.h"

#include <libxml/SAX2.h>
#include <libxml/parser.h>
#include <libxml/parserInternals.h>

#include <algorithm>

#include "base/printable.h"
#include "base/text.h"

namespace vf {
namespace {

// The constness of the error changed in libxml2 2.12.
#if LIBXML_VERSION >= 21200
using XmlError = const xmlError;
#else
using XmlError = xmlError;
#endif

struct FreeParser {
  void operator()(xmlParserCtxt* parser) const { xmlFreeParserCtxt(parser); }
};

int newlines(std::string_view text) {
  return static_cast<int>(std::count(text.begin(), text.end(), '\n'));
}

bool is_space(char c) {
  return c == ' ' || c == '\t' || c == '\n' || c == '\r';
}

// The first byte that no document may have: NUL, or where the text stops being UTF-8.
std::optional<std::size_t> first_bad_byte(std::string_view text) {
  std::string_view rest = text;
  while (!rest.empty()) {
    const std::size_t at = text.size() - rest.size();
    const auto point = take_code_point(rest);
    if (!point || *point == 0) return at;
  }
  return std::nullopt;
}

// The name of the attribute at `tag`, which starts behind the element's name; moves behind its
// value. Empty at the end of the tag. The tag is known to be well-formed.
std::string_view next_attribute(std::string_view& tag) {
  while (!tag.empty() && is_space(tag.front()))
    tag.remove_prefix(1);
  std::size_t length = 0;
  while (length < tag.size() && !is_space(tag[length]) && tag[length] != '=' &&
         tag[length] != '>' && tag[length] != '/')
    ++length;
  const std::string_view name = tag.substr(0, length);
  const std::size_t open = tag.find_first_of("\"'", length);
  if (name.empty() || open == std::string_view::npos) return {};
  const std::size_t close = tag.find(tag[open], open + 1);
  if (close == std::string_view::npos) return {};
  tag.remove_prefix(close + 1);
  return name;
}

// Moves `at` behind the first `end` that follows; to the end of the text when there is none.
void skip_past(std::string_view text, std::size_t& at, std::string_view end) {
  const std::size_t found = text.find(end, at);
  at = found == std::string_view::npos ? text.size() : found + end.size();
}

// Where the first tag with more than `limit` attributes begins. Looked at before libxml2 is, since
// it compares each attribute of an element with all that came before. Right for what is
// well-formed.
std::optional<std::size_t> tag_of_too_many_attributes(std::string_view text, std::size_t limit) {
  for (std::size_t at = text.find('<'); at < text.size(); at = text.find('<', at)) {
    const std::string_view rest = text.substr(at);
    if (rest.starts_with("<!--")) {
      skip_past(text, at, "-->");
    } else if (rest.starts_with("<![CDATA[")) {
      skip_past(text, at, "]]>");
    } else if (rest.starts_with("<?")) {
      skip_past(text, at, "?>");
    } else {
      const std::size_t tag = at++;
      std::size_t count = 0;
      while (at < text.size() && text[at] != '>' && text[at] != '<') {
        const char c = text[at++];
        if (c == '"' || c == '\'') skip_past(text, at, std::string_view(&c, 1));
        if (c == '=' && ++count > limit) return tag;
      }
    }
  }
  return std::nullopt;
}

}  // namespace

// What the parser's callbacks see; the parser's _private points to it.
struct XmlDocument::Reader {
  std::string_view text;
  XmlLimits limits;
  bool positions;
  XmlDocument document;
  std::optional<XmlProblem> problem;

  static Reader& of(void* context) {
    return *static_cast<Reader*>(static_cast<xmlParserCtxt*>(context)->_private);
  }

  void refuse(xmlParserCtxt* parser, std::string found, std::string allowed) {
    if (!problem)
      problem = XmlProblem{.line = parser->input ? parser->input->line : 1,
                           .found = std::move(found),
                           .allowed = std::move(allowed)};
    xmlStopParser(parser);
  }

  static void on_doctype(void* context, const xmlChar*, const xmlChar*, const xmlChar*) {
    of(context).refuse(static_cast<xmlParserCtxt*>(context), "document type declaration",
                       "documents without one");
  }

  static void on_element(void* context, const xmlChar* name, const xmlChar* prefix,
                         const xmlChar* uri, int namespace_count, const xmlChar** namespaces,
                         int attribute_count, int defaulted, const xmlChar** attributes) {
    auto* parser = static_cast<xmlParserCtxt*>(context);
    Reader& self = of(context);
    if (static_cast<std::size_t>(parser->nodeNr) >= self.limits.depth) {
      self.refuse(parser, "elements nested deeper than " + std::to_string(self.limits.depth),
                  std::to_string(self.limits.depth) + " levels");
      return;
    }
    xmlSAX2StartElementNs(context, name, prefix, uri, namespace_count, namespaces, attribute_count,
                          defaulted, attributes);
    if (self.positions && parser->node) self.note_position(parser);
  }

  // Called at the end of the start tag. '<' cannot stand inside of a tag, not even in a value.
  void note_position(const xmlParserCtxt* parser) {
    Position position{.line = parser->input->line};
    const std::size_t end = parser->input->consumed +
                            static_cast<std::size_t>(parser->input->cur - parser->input->base);
    const std::size_t start = text.rfind('<', std::min(end, text.size()));
    position.offset = text.size();
    if (end <= text.size() && start != std::string_view::npos) {
      position.offset = start;
      position.line -= newlines(text.substr(start, end - start));
    }
    document.positions_.insert_or_assign(parser->node, position);
  }

  // Called with the line counter at the end of the chunk.
  void note_text(const xmlParserCtxt* parser, std::string_view chunk) {
    if (!positions || !parser->node) return;
    const auto visible = std::find_if_not(chunk.begin(), chunk.end(), is_space);
    const auto position = document.positions_.find(parser->node);
    if (visible == chunk.end() || position == document.positions_.end()) return;
    if (position->second.text_line != 0) return;
    const auto rest = chunk.substr(static_cast<std::size_t>(visible - chunk.begin()));
    position->second.text_line = parser->input->line - newlines(rest);
  }

  static void on_text(void* context, const xmlChar* chunk, int length) {
    of(context).note_text(static_cast<xmlParserCtxt*>(context),
                          view(chunk).substr(0, static_cast<std::size_t>(length)));
    xmlSAX2Characters(context, chunk, length);
  }

  static void on_cdata(void* context, const xmlChar* chunk, int length) {
    of(context).note_text(static_cast<xmlParserCtxt*>(context),
                          view(chunk).substr(0, static_cast<std::size_t>(length)));
    xmlSAX2CDataBlock(context, chunk, length);
  }

  static void on_error(void* context, XmlError* error) {
    if (!context || error->level < XML_ERR_ERROR) return;
    Reader& self = of(context);
    if (self.problem) return;
    std::string_view message = error->message ? error->message : "";
    while (!message.empty() && is_space(message.back()))
      message.remove_suffix(1);
    self.problem = XmlProblem{.line = std::max(error->line, 1),
                              .found = printable(message, 160),
                              .allowed = "well-formed documents"};
  }
};

std::optional<XmlDocument> XmlDocument::read(std::string_view text, XmlLimits limits,
                                             bool positions, XmlProblem& problem) {
  if (text.size() > limits.bytes) {
    problem = {1, std::to_string(text.size()) + " bytes",
               "documents of at most " + std::to_string(limits.bytes) + " bytes"};
    return std::nullopt;
  }
  if (const auto bad = first_bad_byte(text)) {
    problem = {1 + newlines(text.substr(0, *bad)), printable(text.substr(*bad, 1)),
               "documents in UTF-8 without NUL"};
    return std::nullopt;
  }

  if (const auto tag = tag_of_too_many_attributes(text, limits.attributes)) {
    const std::string most = std::to_string(limits.attributes) + " attributes";
    problem = {1 + newlines(text.substr(0, *tag)), "an element with more than " + most, most};
    return std::nullopt;
  }

  static const bool initialised = (xmlInitParser(), true);
  (void)initialised;
  Reader reader{.text = text, .limits = limits, .positions = positions, .document = {}};
  const std::unique_ptr<xmlParserCtxt, FreeParser> parser(xmlNewParserCtxt());
  if (!parser) std::abort();
  parser->_private = &reader;
  parser->sax->internalSubset = Reader::on_doctype;
  parser->sax->startElementNs = Reader::on_element;
  parser->sax->characters = Reader::on_text;
  parser->sax->ignorableWhitespace = Reader::on_text;
  parser->sax->cdataBlock = Reader::on_cdata;
  parser->sax->serror = Reader::on_error;
  constexpr int options = XML_PARSE_NONET | XML_PARSE_NOERROR | XML_PARSE_NOWARNING |
                          XML_PARSE_IGNORE_ENC | XML_PARSE_BIG_LINES;
  reader.document.document_.reset(xmlCtxtReadMemory(
      parser.get(), text.data(), static_cast<int>(text.size()), nullptr, nullptr, options));
  if (!reader.problem && (!reader.document.document_ || !reader.document.root()))
    reader.problem = XmlProblem{1, "no XML", "well-formed documents"};
  if (reader.problem) {
    problem = *std::move(reader.problem);
    return std::nullopt;
  }
  reader.document.text_ = text;
  return std::move(reader.document);
}

XmlDocument XmlDocument::make(const char* root) {
  XmlDocument result;
  result.document_.reset(xmlNewDoc(nullptr));
  if (!result.document_) std::abort();
  xmlNode* element = xmlNewDocNode(result.get(), nullptr, xml_text(root), nullptr);
  if (!element) std::abort();
  xmlDocSetRootElement(result.get(), element);
  return result;
}

int XmlDocument::line(const xmlNode* element) const {
  const auto position = positions_.find(element);
  return position == positions_.end() ? 0 : position->second.line;
}

std::vector<int> XmlDocument::attribute_lines(const xmlNode* element) const {
  std::vector<int> lines;
  const auto position = positions_.find(element);
  if (position == positions_.end()) return lines;
  const std::string_view tag = text_.substr(position->second.offset);
  std::string_view rest = tag.substr(std::min(tag.size(), tag.find_first_of(" \t\r\n/>")));
  int line = position->second.line;
  const char* counted = tag.data();  // `line` is right up to here
  while (true) {
    const std::string_view name = next_attribute(rest);
    if (name.empty()) return lines;
    if (name == "xmlns" || name.starts_with("xmlns:")) continue;
    line += newlines({counted, static_cast<std::size_t>(name.data() - counted)});
    counted = name.data();
    lines.push_back(line);
  }
}

int XmlDocument::text_line(const xmlNode* element) const {
  const auto position = positions_.find(element);
  return position == positions_.end() ? 0 : position->second.text_line;
}

std::string attribute_value(const xmlAttr* attribute) {
  const std::unique_ptr<xmlChar, decltype(xmlFree)> value(
      xmlNodeListGetString(attribute->doc, attribute->children, 1), xmlFree);
  return std::string(view(value.get()));
}

std::string element_text(xmlNode* element, bool indented) {
  // Without it attributes come out with numbers instead of letters.
  xmlDoc* document = element->doc;
  xmlFree(const_cast<xmlChar*>(document->encoding));
  document->encoding = xmlStrdup(xml_text("UTF-8"));
  xmlOutputBuffer* output = xmlAllocOutputBuffer(nullptr);
  if (!output) std::abort();
  xmlNodeDumpOutput(output, document, element, 0, indented ? 1 : 0, "UTF-8");
  std::string text(reinterpret_cast<const char*>(xmlOutputBufferGetContent(output)),
                   xmlOutputBufferGetSize(output));
  xmlOutputBufferClose(output);
  return text;
}

}  // namespace vf
