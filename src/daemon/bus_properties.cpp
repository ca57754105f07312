// SPDX-License-Identifier: LGPL-2.1-or-later

#include "daemon/bus_properties.h"

#include "base/printable.h"
#include "glib/object_path.h"

namespace vf {
namespace {

class Properties {
 public:
  Properties() { g_variant_builder_init(&builder_, G_VARIANT_TYPE_VARDICT); }

  void add(const char* name, GVariant* value) {
    g_variant_builder_add(&builder_, "{sv}", name, value);
  }
  void add(const char* name, bool value) { add(name, g_variant_new_boolean(value)); }
  void add(const char* name, const std::string& text) {
    if (!text.empty()) add(name, new_string(text));
  }
  void add(const char* name, std::string_view word) { add(name, std::string(word)); }
  void add(const char* name, const std::optional<Port>& port) {
    if (port) add(name, g_variant_new_uint16(port->number()));
  }
  void add(const char* name, const std::vector<std::string>& texts) {
    GVariantBuilder list;
    g_variant_builder_init(&list, G_VARIANT_TYPE_STRING_ARRAY);
    for (const std::string& text : texts)
      g_variant_builder_add_value(&list, new_string(text));
    add(name, g_variant_builder_end(&list));
  }

  void add(const char* name, const std::vector<IpAddress>& addresses) {
    std::vector<std::string> texts;
    for (const IpAddress& address : addresses)
      texts.push_back(address.text());
    if (!texts.empty()) add(name, texts);
  }
  void add(const char* name, const std::vector<WayView>& ways) {
    if (ways.empty()) return;
    GVariantBuilder list;
    g_variant_builder_init(&list, G_VARIANT_TYPE("a(sss)"));
    for (const WayView& way : ways)
      g_variant_builder_add(&list, "(ss@s)", way.way.c_str(), std::string(text(way.state)).c_str(),
                            new_string(way.reason));
    add(name, g_variant_builder_end(&list));
  }
  void add(const std::optional<ProcessView>& process) {
    if (!process) return;
    add("ProcessName", process->name);
    if (process->pid > 0) add("ProcessId", g_variant_new_int64(process->pid));
    add("ProcessCommand", process->command);
  }

  Ref<GVariant> end() { return borrow(g_variant_builder_end(&builder_)); }

 private:
  GVariantBuilder builder_;
};

}  // namespace

GVariant* new_string(const std::string& text) {
  if (g_utf8_validate_len(text.data(), text.size(), nullptr))
    return g_variant_new_string(text.c_str());
  return g_variant_new_string(printable(text, text.size() * 4).c_str());
}

Ref<GVariant> manager_properties(const Model& model) {
  Properties properties;
  properties.add("Version", std::string(VF_VERSION));
  properties.add("ConnectionUri", model.connection_uri());
  properties.add("LibvirtConnected", model.libvirt_connected());
  properties.add("LibvirtReason", model.libvirt_reason());
  properties.add("RelayConnected", model.relay_connected());
  if (const auto heard = model.hook_heard())
    properties.add("HookHeard", g_variant_new_int64(*heard));
  return properties.end();
}

Ref<GVariant> domain_properties(const DomainView& domain) {
  Properties properties;
  properties.add("Uuid", domain.uuid);
  properties.add("Name", domain.name);
  if (domain.id) properties.add("Id", g_variant_new_int32(*domain.id));
  properties.add("Active", domain.active);
  properties.add("Persistent", domain.persistent);
  properties.add("Saved", domain.saved);
  properties.add("Problems", domain.problems);
  properties.add("Automatic", domain.automatic);
  properties.add("GuestAgent", domain.guest_agent);
  properties.add("GuestAgentReason", domain.guest_agent_reason);
  properties.add("Addresses", domain.addresses);
  if (!domain.bridges.empty()) properties.add("Bridges", domain.bridges);
  return properties.end();
}

Ref<GVariant> forward_properties(const ForwardView& forward) {
  Properties properties;
  properties.add("Domain", g_variant_new_object_path(domain_path(forward.uuid).c_str()));
  properties.add("DomainName", forward.domain);
  properties.add("Uuid", forward.uuid);
  properties.add("Id", forward.id);
  properties.add("Definition", forward.definition);
  properties.add("Name", forward.name);
  properties.add("Label", forward.label);
  properties.add("Protocol", text(forward.protocol));
  if (forward.guest_address) properties.add("GuestAddress", forward.guest_address->text());
  properties.add("GuestPort", forward.guest_port);
  properties.add("GuestSocket", forward.guest_socket);
  properties.add("HostAddresses", forward.host_addresses);
  properties.add("HostPort", forward.host_port);
  properties.add("RequestedPort", forward.requested_port);
  properties.add("HostSocket", forward.host_socket);
  properties.add("Url", forward.url);
  if (forward.transport) properties.add("Transport", text(*forward.transport));
  properties.add("Offload", text(forward.offload));
  properties.add("State", text(forward.state));
  if (forward.state == ForwardState::active) properties.add("Proven", forward.proven);
  properties.add("Reason", forward.reason);
  if (forward.next_retry) properties.add("NextRetry", g_variant_new_int64(*forward.next_retry));
  properties.add("Origin", text(forward.origin));
  properties.add(forward.process);
  properties.add("Live", forward.live);
  properties.add("Config", forward.config);
  properties.add("Ways", forward.ways);
  return properties.end();
}

Ref<GVariant> port_properties(const PortView& port) {
  Properties properties;
  properties.add("Domain", g_variant_new_object_path(domain_path(port.uuid).c_str()));
  properties.add("DomainName", port.domain);
  properties.add("Uuid", port.uuid);
  properties.add("Id", port.id);
  properties.add("Protocol", text(port.protocol));
  properties.add("Port", port.port);
  properties.add("Addresses", port.addresses);
  properties.add(port.process);
  if (port.user_id) properties.add("UserId", g_variant_new_uint32(*port.user_id));
  properties.add("Container", port.container);
  properties.add("State", text(port.state));
  if (port.rule) properties.add("Rule", g_variant_new_uint32(*port.rule));
  properties.add("RuleText", port.rule_text);
  properties.add("Reason", port.reason);
  if (!port.forward.empty())
    properties.add("Forward",
                   g_variant_new_object_path(forward_path(port.uuid, port.forward).c_str()));
  properties.add("Source", text(port.source));
  properties.add("Notify", port.notify);
  properties.add("Open", port.open);
  return properties.end();
}

Ref<GVariant> as_interfaces(const char* interface, const Ref<GVariant>& properties) {
  GVariantBuilder interfaces;
  g_variant_builder_init(&interfaces, G_VARIANT_TYPE("a{sa{sv}}"));
  g_variant_builder_add(&interfaces, "{s@a{sv}}", interface, properties.get());
  return borrow(g_variant_builder_end(&interfaces));
}

GVariant* figures_variant(Figures figures) {
  GVariantBuilder known;
  g_variant_builder_init(&known, G_VARIANT_TYPE("a{st}"));
  for (const auto& [name, value] : figures)
    if (value) g_variant_builder_add(&known, "{st}", name, *value);
  return g_variant_builder_end(&known);
}

GVariant* counters_variant(const ForwardCounters& counters) {
  return figures_variant({{"connections", counters.connections},
                          {"bytes-in", counters.bytes_in},
                          {"bytes-out", counters.bytes_out},
                          {"accepted", counters.accepted},
                          {"failures", counters.failures}});
}

GVariant* lanes_variant(const std::vector<LaneStatistics>& lanes) {
  GVariantBuilder list;
  g_variant_builder_init(&list, G_VARIANT_TYPE("a(stta(tt))"));
  for (const LaneStatistics& lane : lanes) {
    GVariantBuilder within;
    g_variant_builder_init(&within, G_VARIANT_TYPE("a(tt)"));
    for (const auto& [bound, rounds] : lane.within)
      g_variant_builder_add(&within, "(tt)", bound, rounds);
    g_variant_builder_add(&list, "(stta(tt))", lane.lane.c_str(), lane.rounds, lane.microseconds,
                          &within);
  }
  return g_variant_builder_end(&list);
}

GVariant* added_variant(const std::vector<ForwardView>& forwards) {
  GVariantBuilder list;
  g_variant_builder_init(&list, G_VARIANT_TYPE("a(oqq)"));
  for (const ForwardView& forward : forwards)
    g_variant_builder_add(&list, "(oqq)", forward_path(forward.uuid, forward.id).c_str(),
                          forward.host_port ? forward.host_port->number() : 0,
                          forward.requested_port ? forward.requested_port->number() : 0);
  return g_variant_builder_end(&list);
}

}  // namespace vf
