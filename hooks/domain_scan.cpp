// SPDX-License-Identifier: LGPL-2.1-or-later

#include "hooks/domain_scan.h"

#include <expat.h>

#include <algorithm>
#include <charconv>
#include <cstring>
#include <memory>
#include <vector>

#include "wire/hook.h"

namespace vf {
namespace {

constexpr std::string_view metadata_namespace = "urn:virt-forward:1";
// Between namespace and name in what expat reports; no document can contain it.
constexpr char separator = '\f';
constexpr std::size_t max_name_bytes = HookMessage::max_name_bytes;

class Scan {
 public:
  explicit Scan(std::string_view xml)
      : xml_(xml), parser_(XML_ParserCreateNS(nullptr, separator)) {}

  DomainScan run() {
    if (!parser_) return {};
    XML_Parser parser = parser_.get();
    XML_SetUserData(parser, this);
    XML_SetElementHandler(parser, started, ended);
    XML_SetCharacterDataHandler(parser, text);
    XML_SetStartNamespaceDeclHandler(parser, declared);
    XML_SetStartDoctypeDeclHandler(parser, doctype);
    const bool whole =
        XML_Parse(parser, xml_.data(), static_cast<int>(xml_.size()), 1) == XML_STATUS_OK;
    found_.complete = whole || done_;
    std::transform(found_.uuid.begin(), found_.uuid.end(), found_.uuid.begin(), [](char c) {
      return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
    });
    if (!is_uuid(found_.uuid)) found_.uuid.clear();
    return std::move(found_);
  }

 private:
  // Where the parser is. An element that is none of these is skipped with all that is in it.
  enum class Place { outside, domain, name, uuid, metadata, forwards };

  struct Declaration {
    std::string prefix;
    std::string uri;
  };

  static Scan& self(void* data) { return *static_cast<Scan*>(data); }

  static void XMLCALL started(void* data, const char* name, const char** attributes) {
    self(data).on_start(name, attributes);
  }
  static void XMLCALL ended(void* data, const char*) { self(data).on_end(); }
  static void XMLCALL text(void* data, const char* characters, int length) {
    self(data).on_text({characters, static_cast<std::size_t>(length)});
  }
  static void XMLCALL declared(void* data, const char* prefix, const char* uri) {
    self(data).declarations_.push_back({prefix ? prefix : "", uri ? uri : ""});
  }
  static void XMLCALL doctype(void* data, const char*, const char*, const char*, int) {
    XML_StopParser(self(data).parser_.get(), XML_FALSE);
  }

  static bool is_ours(std::string_view name, std::string_view local) {
    return name.size() == metadata_namespace.size() + 1 + local.size() &&
           name.starts_with(metadata_namespace) && name[metadata_namespace.size()] == separator &&
           name.ends_with(local);
  }

  void on_start(std::string_view name, const char** attributes) {
    const std::vector<Declaration> here = std::move(declarations_);
    declarations_.clear();
    if (skipped_ > 0) {
      ++skipped_;
    } else if (place_ == Place::outside && name == "domain") {
      place_ = Place::domain;
      outer_ = here;
      on_domain(attributes);
    } else if (place_ == Place::domain && name == "name") {
      place_ = Place::name;
      found_.name.clear();
    } else if (place_ == Place::domain && name == "uuid") {
      place_ = Place::uuid;
      found_.uuid.clear();
    } else if (place_ == Place::domain && name == "metadata") {
      place_ = Place::metadata;
      for (const Declaration& each : here)
        declare(each);
    } else if (place_ == Place::metadata && !has_element_ && is_ours(name, "forwards")) {
      place_ = Place::forwards;
      has_element_ = true;
      for (const Declaration& each : here)
        undeclare(each.prefix);
      begin_ = position();
    } else {
      if (place_ == Place::forwards && is_ours(name, "forward")) on_forward(attributes);
      ++skipped_;
    }
  }

  void on_domain(const char** attributes) {
    for (; attributes[0]; attributes += 2) {
      if (attributes[0] != std::string_view("id")) continue;
      const std::string_view value = attributes[1];
      int run = 0;
      const auto [end, error] = std::from_chars(value.data(), value.data() + value.size(), run);
      if (error == std::errc() && end == value.data() + value.size() && run >= 0) found_.run = run;
    }
  }

  void on_forward(const char** attributes) {
    bool required = false;
    bool enabled = true;
    for (; attributes[0]; attributes += 2) {
      const std::string_view name = attributes[0];
      const std::string_view value = attributes[1];
      if (name == "required") required = value == "yes";
      if (name == "enabled") enabled = value != "no";
    }
    found_.required |= required && enabled;
  }

  void on_end() {
    if (skipped_ > 0) {
      --skipped_;
      return;
    }
    if (place_ == Place::forwards) {
      end_element();
      place_ = Place::metadata;
    } else {
      place_ = place_ == Place::domain ? Place::outside : Place::domain;
    }
    // libvirt writes name and uuid first, so most of the document need not be read.
    if (has_element_ && place_ == Place::metadata && !found_.uuid.empty() && !found_.name.empty()) {
      done_ = true;
      XML_StopParser(parser_.get(), XML_FALSE);
    }
  }

  void on_text(std::string_view characters) {
    if (skipped_ > 0) return;
    std::string* target = place_ == Place::name   ? &found_.name
                          : place_ == Place::uuid ? &found_.uuid
                                                  : nullptr;
    if (target) target->append(characters.substr(0, max_name_bytes - target->size()));
  }

  std::size_t position() const {
    return static_cast<std::size_t>(XML_GetCurrentByteIndex(parser_.get()));
  }

  void undeclare(std::string_view prefix) {
    std::erase_if(outer_, [&](const Declaration& each) { return each.prefix == prefix; });
  }
  void declare(const Declaration& declaration) {
    undeclare(declaration.prefix);
    outer_.push_back(declaration);
  }

  void end_element() {
    const std::size_t end =
        position() + static_cast<std::size_t>(XML_GetCurrentByteCount(parser_.get()));
    const std::string_view element = xml_.substr(begin_, end - begin_);
    const std::size_t name_end = std::min(element.find_first_of(" \t\r\n/>"), element.size());
    found_.element = element.substr(0, name_end);
    for (const auto& [prefix, uri] : outer_) {
      if (!prefix.empty() && element.find(prefix + ':') == std::string_view::npos) continue;
      found_.element += prefix.empty() ? " xmlns=\"" : " xmlns:" + prefix + "=\"";
      for (const char c : uri)
        found_.element += c == '&'   ? "&amp;"
                          : c == '<' ? "&lt;"
                          : c == '"' ? "&quot;"
                                     : std::string(1, c);
      found_.element += '"';
    }
    found_.element += element.substr(name_end);
  }

  struct Free {
    void operator()(XML_Parser parser) const { XML_ParserFree(parser); }
  };

  std::string_view xml_;
  std::unique_ptr<XML_ParserStruct, Free> parser_;
  DomainScan found_;
  Place place_ = Place::outside;
  std::size_t skipped_ = 0;
  bool has_element_ = false;
  bool done_ = false;
  std::vector<Declaration> declarations_;  // of the element that is about to start
  std::vector<Declaration> outer_;         // in scope around our element
  std::size_t begin_ = 0;
};

}  // namespace

bool mentions_forwards(std::string_view xml) {
  return memmem(xml.data(), xml.size(), metadata_namespace.data(), metadata_namespace.size()) !=
         nullptr;
}

DomainScan scan_domain(std::string_view xml) {
  return Scan(xml).run();
}

}  // namespace vf
