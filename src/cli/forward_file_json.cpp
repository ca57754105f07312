// SPDX-License-Identifier: LGPL-2.1-or-later
//
// What GhostVM stores, by its own source: an object with an array "portForwards" of objects with
// "hostPort" and "guestPort" (numbers, always there), "enabled" (true or false) and an "id" of no
// meaning here. Without the array there are no forwards.

#include "cli/forward_file_json.h"

#include <json-glib/json-glib.h>

#include <algorithm>
#include <charconv>
#include <set>

#include "base/printable.h"
#include "core/definition_xml.h"
#include "glib/ref.h"

namespace vf {
namespace {

using Attributes = std::vector<std::pair<std::string, std::string>>;

constexpr int most_levels = 64;

std::string found(JsonNode* node) {
  const std::string text = take_string(json_to_string(node, FALSE));
  return printable(text, 80);
}

class Reader {
 public:
  explicit Reader(ForwardFile& file) : file_(file) {}

  void ours(JsonArray* forwards) {
    each(forwards, "[", [this](JsonObject* object, const std::string& place) {
      Attributes attributes;
      for (const std::string& name : members(object)) {
        JsonNode* value = json_object_get_member(object, name.c_str());
        if (!JSON_NODE_HOLDS_VALUE(value) || json_node_get_value_type(value) != G_TYPE_STRING)
          return wrong(place, printable(name) + " is " + found(value) + "; allowed are texts");
        attributes.emplace_back(name, json_node_get_string(value));
      }
      add(attributes, place);
    });
  }

  void of_ghostvm(JsonObject* config) {
    JsonNode* forwards = json_object_get_member(config, "portForwards");
    if (!forwards) return wrong("the object", "it has no \"portForwards\"");
    if (!JSON_NODE_HOLDS_ARRAY(forwards))
      return wrong("portForwards", "it is " + found(forwards) + "; allowed is an array");
    each(json_node_get_array(forwards), "portForwards[",
         [this](JsonObject* object, const std::string& place) {
           const auto host = port(object, "hostPort", place);
           const auto guest = port(object, "guestPort", place);
           const auto enabled = truth(object, "enabled", place);
           if (!host || !guest || !enabled) return;
           Attributes attributes{{"guest-port", *guest}, {"host-port", *host}};
           if (!*enabled) attributes.emplace_back("enabled", "no");
           add(attributes, place);
         });
  }

 private:
  void wrong(const std::string& place, const std::string& what) {
    file_.errors.push_back(place + ": " + what);
  }

  static std::vector<std::string> members(JsonObject* object) {
    std::vector<std::string> names;
    GList* list = json_object_get_members(object);
    for (GList* at = list; at; at = at->next)
      names.emplace_back(static_cast<const char*>(at->data));
    g_list_free(list);
    return names;
  }

  template <typename Visit>
  void each(JsonArray* array, const std::string& name, Visit visit) {
    for (guint i = 0; i < json_array_get_length(array); ++i) {
      const std::string place = name + std::to_string(i) + ']';
      JsonNode* element = json_array_get_element(array, i);
      if (JSON_NODE_HOLDS_OBJECT(element))
        visit(json_node_get_object(element), place);
      else
        wrong(place, "it is " + found(element) + "; allowed are objects");
    }
  }

  std::optional<std::string> port(JsonObject* object, const char* name, const std::string& place) {
    JsonNode* value = json_object_get_member(object, name);
    if (!value) {
      wrong(place, std::string(name) + " is missing");
      return std::nullopt;
    }
    const bool number =
        JSON_NODE_HOLDS_VALUE(value) && json_node_get_value_type(value) == G_TYPE_INT64;
    const gint64 given = number ? json_node_get_int(value) : 0;
    if (given >= 1 && given <= 65535) return std::to_string(given);
    wrong(place, std::string(name) + " is " + found(value) + "; allowed are 1-65535");
    return std::nullopt;
  }

  std::optional<bool> truth(JsonObject* object, const char* name, const std::string& place) {
    JsonNode* value = json_object_get_member(object, name);
    if (!value) return true;
    if (JSON_NODE_HOLDS_VALUE(value) && json_node_get_value_type(value) == G_TYPE_BOOLEAN)
      return json_node_get_boolean(value) != FALSE;
    wrong(place, std::string(name) + " is " + found(value) + "; allowed are true and false");
    return std::nullopt;
  }

  void add(const Attributes& attributes, const std::string& place) {
    auto definition = parse_forward(attributes);
    if (definition)
      file_.forwards.push_back({*std::move(definition), place});
    else
      wrong(place, definition.error().message);
  }

  ForwardFile& file_;
};

// Names that an object has twice: json-glib keeps the last of them, and the reader's eye the first.
class Doubles {
 public:
  Doubles(JsonParser* parser, ForwardFile& file) : file_(file) {
    g_signal_connect(parser, "object-member", G_CALLBACK(&Doubles::came), this);
  }

 private:
  static void came(JsonParser* parser, JsonObject* object, const gchar* name,
                   gpointer data) noexcept {
    Doubles& self = *static_cast<Doubles*>(data);
    if (self.seen_.emplace(object, name).second) return;
    self.file_.errors.push_back("line " + std::to_string(json_parser_get_current_line(parser)) +
                                ": \"" + printable(name, 80) +
                                "\" is twice in one object; leave one of them out");
  }

  ForwardFile& file_;
  std::set<std::pair<JsonObject*, std::string>> seen_;
};

// What is wrong with a number, empty for nothing: json-glib would make another one of it, which may
// be a port.
std::string number_error(std::string_view number) {
  const std::string_view digits = number.substr(number.starts_with('-') ? 1 : 0);
  if (digits.size() > 1 && digits[0] == '0' && g_ascii_isalnum(digits[1]) &&
      g_ascii_tolower(digits[1]) != 'e')
    return printable(number, 80) + " is no number of JSON; those are decimal, without a 0 in front";
  std::int64_t value = 0;
  const char* const end = number.data() + number.size();
  const auto [behind, error] = std::from_chars(number.data(), end, value);
  if (error == std::errc::result_out_of_range && behind == end)
    return printable(number, 80) + " is beyond 64 bits; ports are 1-65535";
  return {};
}

// What json-glib is not given, empty for nothing: it goes as deep into a text as that does, and
// with it the stack; and it ends with the first of several documents.
std::string too_much(std::string_view text) {
  int depth = 0;
  int line = 1;
  bool quoted = false;
  bool ended = false;
  for (std::size_t at = 0; at < text.size(); ++at) {
    const char c = text[at];
    if (c == '\n') ++line;
    if (quoted && c == '\\')
      ++at;
    else if (c == '"')
      quoted = !quoted;
    else if (quoted)
      continue;
    else if ((c == '[' || c == '{') && ended)
      return "line " + std::to_string(line) + ": another document begins; allowed is one";
    else if ((c == '[' || c == '{') && ++depth > most_levels)
      return "it has more than " + std::to_string(most_levels) + " levels";
    else if (c == ']' || c == '}')
      ended = --depth == 0;
    else if (c == '-' || g_ascii_isdigit(c)) {
      const std::size_t end = std::min(text.find_first_of(" \t\r\n,:]}", at), text.size());
      const std::string wrong = number_error(text.substr(at, end - at));
      if (!wrong.empty()) return "line " + std::to_string(line) + ": " + wrong;
      at = end - 1;
    }
  }
  return {};
}

}  // namespace

void read_json_forwards(std::string_view text, ForwardFile& file) {
  if (std::string wrong = too_much(text); !wrong.empty()) {
    file.errors.push_back(std::move(wrong));
    return;
  }
  const auto parser = adopt(json_parser_new());
  Doubles doubles(parser.get(), file);
  GErrorOut error;
  if (!json_parser_load_from_data(parser.get(), text.data(), static_cast<gssize>(text.size()),
                                  error.out())) {
    // "<data>:LINE:COLUMN: what is wrong"
    std::string message = error.message();
    if (const std::string_view source = "<data>:"; message.starts_with(source))
      message.replace(0, source.size(), "line ");
    file.errors.push_back(printable(message));
    return;
  }
  if (!file.errors.empty()) return;
  JsonNode* root = json_parser_get_root(parser.get());
  Reader reader(file);
  if (root && JSON_NODE_HOLDS_ARRAY(root))
    reader.ours(json_node_get_array(root));
  else if (root && JSON_NODE_HOLDS_OBJECT(root))
    reader.of_ghostvm(json_node_get_object(root));
  else
    file.errors.emplace_back("it is neither an array of forwards nor a config.json of GhostVM");
}

}  // namespace vf
