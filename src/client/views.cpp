// SPDX-License-Identifier: LGPL-2.1-or-later

#include "client/views.h"

#include "glib/object_path.h"

namespace vf {
namespace {

GVariant* find(const Properties& properties, std::string_view name, const char* type) {
  const auto found = properties.find(name);
  if (found == properties.end()) return nullptr;
  GVariant* value = found->second.get();
  return g_variant_is_of_type(value, G_VARIANT_TYPE(type)) ? value : nullptr;
}

std::string text_of(const Properties& properties, std::string_view name) {
  GVariant* value = find(properties, name, "s");
  return value ? g_variant_get_string(value, nullptr) : "";
}

bool flag_of(const Properties& properties, std::string_view name) {
  GVariant* value = find(properties, name, "b");
  return value && g_variant_get_boolean(value);
}

std::optional<Port> port_of(const Properties& properties, std::string_view name) {
  GVariant* value = find(properties, name, "q");
  return value ? Port::from(g_variant_get_uint16(value)) : std::nullopt;
}

std::optional<std::int64_t> number_of(const Properties& properties, std::string_view name) {
  GVariant* value = find(properties, name, "x");
  if (!value) return std::nullopt;
  return g_variant_get_int64(value);
}

std::vector<std::string> texts_of(const Properties& properties, std::string_view name) {
  std::vector<std::string> texts;
  GVariant* value = find(properties, name, "as");
  if (!value) return texts;
  const gsize count = g_variant_n_children(value);
  for (gsize i = 0; i < count; ++i) {
    const auto child = adopt(g_variant_get_child_value(value, i));
    texts.emplace_back(g_variant_get_string(child.get(), nullptr));
  }
  return texts;
}

std::vector<IpAddress> addresses_of(const Properties& properties, std::string_view name) {
  std::vector<IpAddress> addresses;
  for (const std::string& address : texts_of(properties, name))
    if (const auto parsed = IpAddress::parse(address)) addresses.push_back(*parsed);
  return addresses;
}

std::vector<WayView> ways_of(const Properties& properties) {
  std::vector<WayView> ways;
  GVariant* value = find(properties, "Ways", "a(sss)");
  if (!value) return ways;
  GVariantIter iterator;
  g_variant_iter_init(&iterator, value);
  const gchar* way = nullptr;
  const gchar* state = nullptr;
  const gchar* reason = nullptr;
  while (g_variant_iter_next(&iterator, "(&s&s&s)", &way, &state, &reason))
    if (const auto known = parse<WayState>(state)) ways.push_back({way, *known, reason});
  return ways;
}

std::optional<std::uint32_t> count_of(const Properties& properties, std::string_view name) {
  GVariant* value = find(properties, name, "u");
  if (!value) return std::nullopt;
  return g_variant_get_uint32(value);
}

std::optional<ProcessView> process_of(const Properties& properties) {
  const std::string name = text_of(properties, "ProcessName");
  const auto id = number_of(properties, "ProcessId");
  if (!id && name.empty()) return std::nullopt;
  return ProcessView{name, id.value_or(0), text_of(properties, "ProcessCommand")};
}

}  // namespace

void merge(Properties& properties, GVariant* dictionary) {
  GVariantIter iterator;
  g_variant_iter_init(&iterator, dictionary);
  const gchar* name = nullptr;
  GVariant* value = nullptr;
  while (g_variant_iter_next(&iterator, "{&sv}", &name, &value))
    properties[name] = adopt(value);
}

ForwardView forward_view(const Properties& properties) {
  ForwardView view;
  view.domain = text_of(properties, "DomainName");
  view.uuid = text_of(properties, "Uuid");
  view.id = text_of(properties, "Id");
  view.definition = text_of(properties, "Definition");
  view.name = text_of(properties, "Name");
  view.label = text_of(properties, "Label");
  view.protocol = parse<Protocol>(text_of(properties, "Protocol")).value_or(Protocol::tcp);
  view.guest_address = IpAddress::parse(text_of(properties, "GuestAddress"));
  view.guest_port = port_of(properties, "GuestPort");
  view.guest_socket = text_of(properties, "GuestSocket");
  view.host_addresses = addresses_of(properties, "HostAddresses");
  view.host_port = port_of(properties, "HostPort");
  view.requested_port = port_of(properties, "RequestedPort");
  view.host_socket = text_of(properties, "HostSocket");
  view.url = text_of(properties, "Url");
  view.transport = parse<Transport>(text_of(properties, "Transport"));
  view.offload = parse<Offload>(text_of(properties, "Offload")).value_or(Offload::none);
  view.proven = flag_of(properties, "Proven");
  view.reason = text_of(properties, "Reason");
  view.next_retry = number_of(properties, "NextRetry");
  view.origin = parse<Origin>(text_of(properties, "Origin")).value_or(Origin::metadata);
  view.process = process_of(properties);
  view.live = flag_of(properties, "Live");
  view.config = flag_of(properties, "Config");
  view.ways = ways_of(properties);

  const std::string state = text_of(properties, "State");
  if (const auto known = parse<ForwardState>(state)) {
    view.state = *known;
  } else {
    view.state = ForwardState::failed;
    view.reason =
        "the daemon reports a state \"" + state + "\" that this virt-forward does not know";
  }
  return view;
}

PortView port_view(const Properties& properties) {
  PortView view;
  view.domain = text_of(properties, "DomainName");
  view.uuid = text_of(properties, "Uuid");
  view.id = text_of(properties, "Id");
  view.protocol = parse<Protocol>(text_of(properties, "Protocol")).value_or(Protocol::tcp);
  view.port = port_of(properties, "Port");
  view.addresses = addresses_of(properties, "Addresses");
  view.process = process_of(properties);
  view.user_id = count_of(properties, "UserId");
  view.container = text_of(properties, "Container");
  view.rule = count_of(properties, "Rule");
  view.rule_text = text_of(properties, "RuleText");
  view.reason = text_of(properties, "Reason");
  if (GVariant* forward = find(properties, "Forward", "o"))
    if (const auto name = parse_object_path(g_variant_get_string(forward, nullptr)))
      view.forward = name->id;
  view.source = parse<PortSource>(text_of(properties, "Source")).value_or(PortSource::agent);
  view.notify = flag_of(properties, "Notify");
  view.open = flag_of(properties, "Open");
  const std::string state = text_of(properties, "State");
  const auto known = parse<DetectedState>(state);
  view.state = known.value_or(DetectedState::ignored);
  if (!known)
    view.reason =
        "the daemon reports a state \"" + state + "\" that this virt-forward does not know";
  return view;
}

DomainView domain_view(const Properties& properties) {
  DomainView view;
  view.uuid = text_of(properties, "Uuid");
  view.name = text_of(properties, "Name");
  if (GVariant* id = find(properties, "Id", "i")) view.id = g_variant_get_int32(id);
  view.active = flag_of(properties, "Active");
  view.persistent = flag_of(properties, "Persistent");
  view.saved = flag_of(properties, "Saved");
  view.problems = texts_of(properties, "Problems");
  view.automatic = flag_of(properties, "Automatic");
  view.guest_agent = text_of(properties, "GuestAgent");
  view.guest_agent_reason = text_of(properties, "GuestAgentReason");
  view.addresses = addresses_of(properties, "Addresses");
  view.bridges = texts_of(properties, "Bridges");
  return view;
}

}  // namespace vf
