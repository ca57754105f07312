// SPDX-License-Identifier: LGPL-2.1-or-later

#include "client/json.h"

#include <json-glib/json-glib.h>

#include "core/definition_attributes.h"
#include "glib/ref.h"

namespace vf {
namespace {

void put(JsonObject* object, const char* key, const std::string& text) {
  if (!text.empty()) json_object_set_string_member(object, key, text.c_str());
}

void put(JsonObject* object, const char* key, std::string_view word) {
  put(object, key, std::string(word));
}

void put(JsonObject* object, const char* key, const std::optional<Port>& port) {
  if (port) json_object_set_int_member(object, key, port->number());
}

void put(JsonObject* object, const char* key, std::uint64_t number) {
  json_object_set_int_member(object, key, static_cast<gint64>(number));
}

void put(JsonObject* object, const char* key, const std::vector<IpAddress>& addresses) {
  if (addresses.empty()) return;
  JsonArray* array = json_array_new();
  for (const IpAddress& address : addresses)
    json_array_add_string_element(array, address.text().c_str());
  json_object_set_array_member(object, key, array);
}

void put(JsonObject* object, const char* key, bool value) {
  json_object_set_boolean_member(object, key, value);
}

JsonObject* guest_object(const ForwardView& forward) {
  JsonObject* guest = json_object_new();
  if (forward.guest_address) put(guest, "address", forward.guest_address->text());
  put(guest, "port", forward.guest_port);
  put(guest, "socket", forward.guest_socket);
  return guest;
}

JsonObject* host_object(const ForwardView& forward) {
  JsonObject* host = json_object_new();
  put(host, "addresses", forward.host_addresses);
  put(host, "port", forward.host_port);
  put(host, "requested-port", forward.requested_port);
  put(host, "socket", forward.host_socket);
  return host;
}

JsonObject* process_object(const ProcessView& process) {
  JsonObject* object = json_object_new();
  put(object, "name", process.name);
  if (process.pid > 0) json_object_set_int_member(object, "pid", process.pid);
  put(object, "command", process.command);
  return object;
}

void put_port(JsonObject* object, const PortView& port) {
  put(object, "protocol", text(port.protocol));
  put(object, "port", port.port);
  put(object, "addresses", port.addresses);
  if (port.process) json_object_set_object_member(object, "process", process_object(*port.process));
  if (port.user_id) put(object, "user-id", std::uint64_t{*port.user_id});
  put(object, "container", port.container);
}

void put_decision(JsonObject* object, const PortView& port) {
  put(object, "state", text(port.state));
  if (port.rule) put(object, "rule", std::uint64_t{*port.rule});
  put(object, "reason", port.reason);
}

JsonObject* port_object(const PortView& port) {
  JsonObject* object = json_object_new();
  put(object, "domain", port.domain);
  put(object, "uuid", port.uuid);
  put(object, "id", port.id);
  put_port(object, port);
  put_decision(object, port);
  put(object, "forward", port.forward);
  put(object, "source", text(port.source));
  put(object, "notify", port.notify);
  put(object, "open", port.open);
  return object;
}

JsonObject* forward_object(const ForwardView& forward, const ForwardCounters* counters) {
  JsonObject* object = json_object_new();
  put(object, "domain", forward.domain);
  put(object, "uuid", forward.uuid);
  put(object, "id", forward.id);
  put(object, "name", forward.name);
  put(object, "label", forward.label);
  put(object, "protocol", text(forward.protocol));
  json_object_set_object_member(object, "guest", guest_object(forward));
  json_object_set_object_member(object, "host", host_object(forward));
  put(object, "url", forward.url);
  if (forward.transport) {
    put(object, "transport", text(*forward.transport));
    put(object, "offload", text(forward.offload));
  }
  put(object, "state", text(forward.state));
  put(object, "reason", forward.reason);
  put(object, "origin", text(forward.origin));
  if (forward.process)
    json_object_set_object_member(object, "process", process_object(*forward.process));
  if (counters) {
    put(object, "connections", counters->connections);
    if (counters->bytes_in && counters->bytes_out) {
      JsonObject* bytes = json_object_new();
      put(bytes, "in", *counters->bytes_in);
      put(bytes, "out", *counters->bytes_out);
      json_object_set_object_member(object, "bytes", bytes);
    }
  }
  return object;
}

// Outside of strings JSON is ASCII, so a character past it may be escaped wherever it stands.
std::string without_terminal_controls(std::string_view json) {
  std::string safe;
  const char* at = json.data();
  const char* const end = at + json.size();
  while (at < end) {
    const char* const next = g_utf8_next_char(at);
    const gunichar character = g_utf8_get_char(at);
    const GUnicodeType type = g_unichar_type(character);
    if (character > 0x7e && character <= 0xffff &&
        (type == G_UNICODE_CONTROL || type == G_UNICODE_FORMAT ||
         type == G_UNICODE_LINE_SEPARATOR || type == G_UNICODE_PARAGRAPH_SEPARATOR)) {
      char escape[8];
      g_snprintf(escape, sizeof escape, "\\u%04x", character);
      safe += escape;
    } else {
      safe.append(at, next);
    }
    at = next;
  }
  return safe;
}

// Takes `object` over.
std::string one_line(JsonObject* object) {
  JsonNode* node = json_node_alloc();
  json_node_init_object(node, object);
  json_object_unref(object);
  const std::string line = take_string(json_to_string(node, FALSE));
  json_node_unref(node);
  return without_terminal_controls(line);
}

}  // namespace

std::string json_texts(const std::vector<std::pair<std::string, std::string>>& members) {
  JsonObject* object = json_object_new();
  for (const auto& [name, value] : members)
    json_object_set_string_member(object, name.c_str(), value.c_str());
  return one_line(object);
}

std::string json_forward(const CountedForward& forward) {
  return one_line(forward_object(forward.forward, forward.counters ? &*forward.counters : nullptr));
}

namespace {

void put_ways(JsonObject* object, const ForwardView& forward) {
  JsonArray* ways = json_array_new();
  for (const WayView& way : forward.ways) {
    JsonObject* one = json_object_new();
    put(one, "way", way.way);
    put(one, "state", text(way.state));
    put(one, "reason", way.reason);
    json_array_add_object_element(ways, one);
  }
  json_object_set_array_member(object, "ways", ways);
}

JsonObject* decision_object(const PortExplanation& explanation) {
  JsonObject* decision = json_object_new();
  put(decision, "definition", explanation.definition);
  if (explanation.rule) put(decision, "rule", std::uint64_t{*explanation.rule});
  put(decision, "rule-text", explanation.rule_text);
  if (explanation.rule) put(decision, "marked", explanation.marked);
  return decision;
}

JsonObject* holder_object(const HolderView& holder) {
  JsonObject* object = json_object_new();
  put(object, "addresses", holder.addresses);
  put(object, "port", holder.port);
  put(object, "user", holder.user);
  if (holder.process)
    json_object_set_object_member(object, "process", process_object(*holder.process));
  return object;
}

}  // namespace

std::string json_explanation(const PortExplanation& explanation) {
  JsonObject* object = nullptr;
  if (explanation.forward) {
    object = forward_object(*explanation.forward, nullptr);
    put_ways(object, *explanation.forward);
    if (explanation.forward->next_retry)
      json_object_set_int_member(object, "next-retry", *explanation.forward->next_retry);
  } else {
    object = json_object_new();
    put(object, "domain", explanation.domain);
    put(object, "uuid", explanation.uuid);
    put(object, "protocol", text(explanation.protocol));
    put(object, "port", explanation.port);
    put(object, "reason", explanation.reason);
  }
  json_object_set_object_member(object, "decision", decision_object(explanation));
  JsonArray* listeners = json_array_new();
  for (const PortView& port : explanation.listeners)
    json_array_add_object_element(listeners, port_object(port));
  json_object_set_array_member(object, "listeners", listeners);
  put(object, "no-listeners", explanation.no_listeners);
  JsonArray* holders = json_array_new();
  for (const HolderView& holder : explanation.holders)
    json_array_add_object_element(holders, holder_object(holder));
  json_object_set_array_member(object, "holders", holders);
  put(object, "next", explanation.next);
  return one_line(object);
}

std::string json_event(std::string_view event, const ForwardView& forward) {
  JsonObject* object = json_object_new();
  put(object, "event", event);
  json_object_set_object_member(object, "forward", forward_object(forward, nullptr));
  return one_line(object);
}

std::string json_port(const PortView& port) {
  return one_line(port_object(port));
}

std::string json_event(std::string_view event, const PortView& port) {
  JsonObject* object = json_object_new();
  put(object, "event", event);
  json_object_set_object_member(object, "port", port_object(port));
  return one_line(object);
}

std::string_view detected_action(DetectedState state) {
  switch (state) {
    case DetectedState::forwarded:
      return "forward";
    case DetectedState::blocked:
      return "block";
    case DetectedState::ignored:
      return "ignore";
    case DetectedState::asking:
      return "ask";
    case DetectedState::denied:
      break;
  }
  return "deny";
}

std::string json_explained(const ExplainedPort& explained) {
  JsonObject* object = json_object_new();
  JsonObject* listener = json_object_new();
  put_port(listener, explained.port);
  json_object_set_object_member(object, "listener", listener);
  put(object, "action", detected_action(explained.port.state));
  put_decision(object, explained.port);
  if (explained.host_port || !explained.host_socket.empty()) {
    JsonObject* host = json_object_new();
    put(host, "addresses", explained.host_addresses);
    put(host, "port", explained.host_port);
    put(host, "socket", explained.host_socket);
    json_object_set_object_member(object, "host", host);
  }
  put(object, "label", explained.label);
  put(object, "scheme", explained.scheme);
  put(object, "notify", explained.port.notify);
  put(object, "open", explained.port.open);
  return one_line(object);
}

std::string json_automatic(const DomainView& domain, const std::vector<PortView>& ports) {
  JsonObject* object = json_object_new();
  put(object, "domain", domain.name);
  put(object, "uuid", domain.uuid);
  put(object, "automatic", domain.automatic);
  put(object, "guest-agent", domain.guest_agent);
  put(object, "guest-agent-reason", domain.guest_agent_reason);
  std::string text = one_line(object);
  text.pop_back();
  text += ",\"ports\":[";
  for (const PortView& port : ports)
    text += (&port == &ports.front() ? "\n" : ",\n") + json_port(port);
  return text + (ports.empty() ? "]}\n" : "\n]}\n");
}

std::string json_definitions(const std::vector<ForwardDefinition>& forwards) {
  std::string array = "[";
  for (const ForwardDefinition& forward : forwards) {
    JsonObject* object = json_object_new();
    for (const auto& [name, value] : attributes_of(forward))
      put(object, name.c_str(), value);
    array += (array.size() > 1 ? ",\n" : "\n") + one_line(object);
  }
  return array + (forwards.empty() ? "]\n" : "\n]\n");
}

std::string json_forwards(const std::vector<CountedForward>& forwards) {
  std::string array = "[";
  for (const CountedForward& forward : forwards) {
    if (array.size() > 1) array += ',';
    array += '\n' + json_forward(forward);
  }
  array += forwards.empty() ? "]\n" : "\n]\n";
  return array;
}

}  // namespace vf
