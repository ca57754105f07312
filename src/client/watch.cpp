// SPDX-License-Identifier: LGPL-2.1-or-later
//
// Signals that were sent before the reading arrive after it. They are applied all the same: each
// carries values that a later one of them corrects, and the last one is right.

#include "client/watch.h"

#include "glib/object_path.h"

namespace vf {
namespace {

// Brings `views[path]` up to the properties of the object; null where it is gone.
template <typename View, typename Announce>
void replace(std::map<std::string, View>& views, const std::string& path, const Properties* source,
             View (*make)(const Properties&), Announce announce) {
  const auto found = views.find(path);
  if (!source) {
    if (found == views.end()) return;
    const View before = found->second;
    views.erase(found);
    announce(&before, static_cast<const View*>(nullptr));
    return;
  }
  View after = make(*source);
  if (found == views.end()) {
    const View& kept = views.emplace(path, std::move(after)).first->second;
    announce(static_cast<const View*>(nullptr), &kept);
  } else if (found->second != after) {
    const View before = std::exchange(found->second, std::move(after));
    announce(&before, &found->second);
  }
}

const Properties* find(const std::map<std::string, Properties>& objects, const std::string& path) {
  const auto found = objects.find(path);
  return found == objects.end() ? nullptr : &found->second;
}

}  // namespace

Watch::~Watch() {
  for (const guint subscription : subscriptions_)
    g_dbus_connection_signal_unsubscribe(daemon_.connection(), subscription);
  if (closed_handler_ != 0) g_signal_handler_disconnect(daemon_.connection(), closed_handler_);
}

void Watch::subscribe(const char* sender, const char* interface, const char* signal,
                      const char* path, const char* first_argument) {
  subscriptions_.push_back(g_dbus_connection_signal_subscribe(
      daemon_.connection(), sender, interface, signal, path, first_argument,
      G_DBUS_SIGNAL_FLAGS_NONE, on_signal, this, nullptr));
}

Result<void> Watch::start() {
  closed_handler_ = g_signal_connect(daemon_.connection(), "closed", G_CALLBACK(on_closed), this);
  const char* peer = daemon_.peer_name();
  subscribe(peer, object_manager_interface, "InterfacesAdded", root_path, nullptr);
  subscribe(peer, object_manager_interface, "InterfacesRemoved", root_path, nullptr);
  subscribe(peer, properties_interface, "PropertiesChanged", nullptr, forward_interface);
  subscribe(peer, properties_interface, "PropertiesChanged", nullptr, domain_interface);
  subscribe(peer, properties_interface, "PropertiesChanged", nullptr, port_interface);
  if (peer)
    subscribe("org.freedesktop.DBus", "org.freedesktop.DBus", "NameOwnerChanged",
              "/org/freedesktop/DBus", peer);

  auto inventory = daemon_.inventory();
  if (!inventory) return Unexpected(inventory.error());
  inventory_ = std::move(*inventory);
  for (const auto& [path, properties] : inventory_.domains)
    domains_.emplace(path, domain_view(properties));
  for (const auto& [path, properties] : inventory_.forwards)
    forwards_.emplace(path, forward_view(properties));
  for (const auto& [path, properties] : inventory_.ports)
    ports_.emplace(path, port_view(properties));
  return {};
}

void Watch::on_closed(GDBusConnection*, gboolean, GError*, gpointer data) noexcept {
  static_cast<Watch*>(data)->lost();
}

void Watch::on_signal(GDBusConnection*, const gchar*, const gchar* path, const gchar*,
                      const gchar* signal, GVariant* parameters, gpointer data) noexcept {
  auto* watch = static_cast<Watch*>(data);
  if (watch->lost_) return;
  const std::string_view name = signal;
  if (name == "InterfacesAdded" && g_variant_is_of_type(parameters, G_VARIANT_TYPE("(oa{sa{sv}})")))
    watch->added(parameters);
  else if (name == "InterfacesRemoved" && g_variant_is_of_type(parameters, G_VARIANT_TYPE("(oas)")))
    watch->removed(parameters);
  else if (name == "PropertiesChanged" &&
           g_variant_is_of_type(parameters, G_VARIANT_TYPE("(sa{sv}as)")))
    watch->changed(path, parameters);
  else if (name == "NameOwnerChanged" && g_variant_is_of_type(parameters, G_VARIANT_TYPE("(sss)")))
    watch->owner_changed(parameters);
}

void Watch::added(GVariant* parameters) {
  const gchar* path = nullptr;
  GVariant* interfaces = nullptr;
  g_variant_get(parameters, "(&o@a{sa{sv}})", &path, &interfaces);
  const auto owned = adopt(interfaces);
  const auto take = [&](const char* interface, std::map<std::string, Properties>& objects) {
    const auto values =
        adopt(g_variant_lookup_value(interfaces, interface, G_VARIANT_TYPE("a{sv}")));
    if (!values) return;
    Properties& properties = objects[path];
    properties.clear();
    merge(properties, values.get());
  };
  take(domain_interface, inventory_.domains);
  take(forward_interface, inventory_.forwards);
  take(port_interface, inventory_.ports);
  update(path);
}

void Watch::removed(GVariant* parameters) {
  const gchar* path = nullptr;
  GVariantIter* interfaces = nullptr;
  g_variant_get(parameters, "(&oas)", &path, &interfaces);
  const gchar* interface = nullptr;
  while (g_variant_iter_next(interfaces, "&s", &interface)) {
    if (std::string_view(interface) == domain_interface) inventory_.domains.erase(path);
    if (std::string_view(interface) == forward_interface) inventory_.forwards.erase(path);
    if (std::string_view(interface) == port_interface) inventory_.ports.erase(path);
  }
  g_variant_iter_free(interfaces);
  update(path);
}

void Watch::changed(const std::string& path, GVariant* parameters) {
  const gchar* interface = nullptr;
  GVariant* values = nullptr;
  GVariantIter* invalidated = nullptr;
  g_variant_get(parameters, "(&s@a{sv}as)", &interface, &values, &invalidated);
  const auto owned = adopt(values);
  auto& objects = std::string_view(interface) == domain_interface ? inventory_.domains
                  : std::string_view(interface) == port_interface ? inventory_.ports
                                                                  : inventory_.forwards;
  const auto found = objects.find(path);
  const gchar* gone = nullptr;
  if (found != objects.end()) merge(found->second, values);
  while (g_variant_iter_next(invalidated, "&s", &gone))
    if (found != objects.end()) found->second.erase(gone);
  g_variant_iter_free(invalidated);
  if (found != objects.end()) update(path);
}

void Watch::owner_changed(GVariant* parameters) {
  const gchar* new_owner = nullptr;
  g_variant_get(parameters, "(&s&s&s)", nullptr, nullptr, &new_owner);
  if (!*new_owner) lost();
}

void Watch::update(const std::string& path) {
  const auto domain = find(inventory_.domains, path);
  const auto forward = find(inventory_.forwards, path);
  replace(domains_, path, domain, domain_view, [&](const auto* before, const auto* after) {
    observer_.domain_changed(daemon_, path, before, after);
  });
  replace(forwards_, path, forward, forward_view, [&](const auto* before, const auto* after) {
    observer_.forward_changed(daemon_, path, before, after);
  });
  const auto port = find(inventory_.ports, path);
  replace(ports_, path, port, port_view, [&](const auto* before, const auto* after) {
    observer_.port_changed(daemon_, path, before, after);
  });
}

void Watch::lost() {
  if (std::exchange(lost_, true)) return;
  observer_.daemon_lost(daemon_);
}

}  // namespace vf
