// SPDX-License-Identifier: LGPL-2.1-or-later

#include "daemon/bus_announcer.h"

#include "daemon/bus_interfaces.h"
#include "daemon/bus_properties.h"
#include "glib/object_path.h"

namespace vf {
namespace {

// The (sa{sv}as) of PropertiesChanged: all that is known, and the names of what is not.
Ref<GVariant> changed_body(const char* interface, const Ref<GVariant>& properties) {
  GVariantBuilder absent;
  g_variant_builder_init(&absent, G_VARIANT_TYPE_STRING_ARRAY);
  for (GDBusPropertyInfo** info = bus_interface(interface)->properties; info && *info; ++info) {
    const auto value = adopt(g_variant_lookup_value(properties.get(), (*info)->name, nullptr));
    if (!value) g_variant_builder_add(&absent, "s", (*info)->name);
  }
  return borrow(g_variant_new("(s@a{sv}as)", interface, properties.get(), &absent));
}

}  // namespace

BusAnnouncer::BusAnnouncer(Model& model, Emit emit) : model_(model), emit_(std::move(emit)) {
  model_.observe(this);
}

BusAnnouncer::~BusAnnouncer() {
  model_.observe(nullptr);
}

void BusAnnouncer::listen(bool wanted) {
  wanted_ = wanted;
  if (wanted) return;
  entries_.clear();
  latest_.clear();
  due_.reset();
}

void BusAnnouncer::domain_added(const DomainView& domain) {
  note(domain_path(domain.uuid), News::added);
}
void BusAnnouncer::domain_changed(const DomainView& domain) {
  note(domain_path(domain.uuid), News::changed);
}
void BusAnnouncer::domain_removed(const DomainView& domain) {
  note(domain_path(domain.uuid), News::removed);
}
void BusAnnouncer::forward_added(const ForwardView& forward) {
  note(forward_path(forward.uuid, forward.id), News::added);
}
void BusAnnouncer::forward_changed(const ForwardView& forward) {
  note(forward_path(forward.uuid, forward.id), News::changed);
}
void BusAnnouncer::forward_removed(const ForwardView& forward) {
  note(forward_path(forward.uuid, forward.id), News::removed);
}
void BusAnnouncer::port_added(const PortView& port) {
  note(port_path(port.uuid, port.id), News::added);
}
void BusAnnouncer::port_changed(const PortView& port) {
  note(port_path(port.uuid, port.id), News::changed);
}
void BusAnnouncer::port_removed(const PortView& port) {
  note(port_path(port.uuid, port.id), News::removed);
}
void BusAnnouncer::daemon_changed() {
  note(root_path, News::changed);
}

void BusAnnouncer::append(std::string path, News news) {
  latest_[path] = entries_.size();
  entries_.push_back({std::move(path), news});
}

void BusAnnouncer::note(std::string path, News news) {
  if (!wanted_) return;
  if (!due_) due_ = after(std::chrono::milliseconds(0), [this] { flush(); });
  const auto found = latest_.find(path);
  if (found == latest_.end()) {
    append(std::move(path), news);
    return;
  }
  Entry& last = entries_[found->second];
  switch (news) {
    case News::none:
    case News::changed:  // the last entry shows the model as it is when it is sent
      break;
    case News::added:
      append(std::move(path), News::added);
      break;
    case News::removed: {
      // Moves behind what came since: the forwards of a domain go before the domain.
      const bool unseen = last.news == News::added;
      last.news = News::none;
      if (unseen)
        latest_.erase(found);
      else
        append(std::move(path), News::removed);
      break;
    }
  }
}

void BusAnnouncer::flush() {
  due_.reset();
  const std::vector<Entry> entries = std::exchange(entries_, {});
  latest_.clear();
  for (const Entry& entry : entries)
    emit(entry);
}

void BusAnnouncer::emit(const Entry& entry) {
  if (entry.news == News::none) return;
  const char* path = entry.path.c_str();
  const auto name = parse_object_path(entry.path);
  const char* interface = !name              ? manager_interface
                          : name->id.empty() ? domain_interface
                          : name->port       ? port_interface
                                             : forward_interface;
  if (entry.news == News::removed) {
    const char* const interfaces[] = {interface, nullptr};
    emit_(root_path, object_manager_interface, "InterfacesRemoved",
          borrow(g_variant_new("(o^as)", path, interfaces)));
    return;
  }
  Ref<GVariant> properties;
  if (!name) {
    properties = manager_properties(model_);
  } else if (name->id.empty()) {
    const DomainView* domain = model_.domain(name->uuid);
    if (domain) properties = domain_properties(*domain);
  } else if (name->port) {
    const PortView* port = model_.port(name->uuid, name->id);
    if (port) properties = port_properties(*port);
  } else {
    const ForwardView* forward = model_.forward(name->uuid, name->id);
    if (forward) properties = forward_properties(*forward);
  }
  if (!properties) return;
  if (entry.news == News::added)
    emit_(root_path, object_manager_interface, "InterfacesAdded",
          borrow(g_variant_new("(o@a{sa{sv}})", path, as_interfaces(interface, properties).get())));
  else
    emit_(path, properties_interface, "PropertiesChanged", changed_body(interface, properties));
}

}  // namespace vf
