// SPDX-License-Identifier: LGPL-2.1-or-later
//
// What GhostVM stores, by its own source: an object with an array "portForwards" of objects with
// "hostPort" and "guestPort" (numbers, always there), "enabled" (true or false) and an "id" of no
// meaning here. Without the array there are no forwards.

#include "cli/forward_file_json.h"

#include <json-glib/json-glib.h>

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

// json-glib goes as deep into a text as that does, and with it the stack.
bool too_deep(std::string_view text) {
  int depth = 0;
  bool quoted = false;
  for (std::size_t at = 0; at < text.size(); ++at) {
    const char c = text[at];
    if (quoted && c == '\\')
      ++at;
    else if (c == '"')
      quoted = !quoted;
    else if (!quoted && (c == '[' || c == '{') && ++depth > most_levels)
      return true;
    else if (!quoted && (c == ']' || c == '}'))
      --depth;
  }
  return false;
}

}  // namespace

void read_json_forwards(std::string_view text, ForwardFile& file) {
  if (too_deep(text)) {
    file.errors.emplace_back("it has more than " + std::to_string(most_levels) + " levels");
    return;
  }
  const auto parser = adopt(json_parser_new());
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
