// SPDX-License-Identifier: LGPL-2.1-or-later

#include "daemon/bus_objects.h"

#include <algorithm>
#include <optional>

#include "daemon/bus_interfaces.h"
#include "glib/object_path.h"

namespace vf {

struct BusObjects::Link {
  Link(BusObjects& owner, GDBusConnection* attached, BusKind attached_kind)
      : objects(owner), connection(borrow(attached)), kind(attached_kind) {
    if (kind == BusKind::peer) backlog.emplace(attached, owner.limits_.backlog);
  }
  ~Link() {
    for (const auto& [sender, watch] : readers)
      g_bus_unwatch_name(watch);
    for (const guint id : objects_registered)
      g_dbus_connection_unregister_object(connection.get(), id);
    for (const guint id : subtrees_registered)
      g_dbus_connection_unregister_subtree(connection.get(), id);
  }
  Link(const Link&) = delete;
  Link& operator=(const Link&) = delete;

  bool cut() const { return backlog && backlog->cut(); }

  BusObjects& objects;
  Ref<GDBusConnection> connection;
  BusKind kind;
  std::vector<guint> objects_registered;
  std::vector<guint> subtrees_registered;
  std::map<std::string, guint> readers;  // unique name to the watch that sees it leave
  std::optional<BusBacklog> backlog;     // of a peer
};

struct BusObjects::Count {
  std::map<BusTurns::Caller, std::size_t> of_one;
  std::size_t all = 0;
};

namespace {

void refuse(BusCall& call) {
  call.fail("org.freedesktop.DBus.Error.LimitsExceeded",
            "too many unanswered calls; wait for their answers");
}

}  // namespace

// GDBus's callbacks: user data is the Link.

const GDBusInterfaceVTable BusObjects::interface_vtable = {
    [](GDBusConnection*, const gchar*, const gchar*, const gchar*, const gchar*, GVariant*,
       GDBusMethodInvocation* invocation, gpointer data) noexcept {
      Link& link = *static_cast<Link*>(data);
      link.objects.handle(link, invocation);
    },
    nullptr,
    nullptr,
    {}};

// GDBus gives introspect() the subtree's path when it is asked to introspect, and the node's own
// path when it is about to dispatch a method.
const GDBusSubtreeVTable BusObjects::subtree_vtable = {
    [](GDBusConnection*, const gchar* sender, const gchar* path, gpointer data) noexcept {
      Link& link = *static_cast<Link*>(data);
      return link.objects.enumerate(link, sender ? sender : "", path);
    },
    [](GDBusConnection*, const gchar*, const gchar* path, const gchar* node,
       gpointer) noexcept -> GDBusInterfaceInfo** {
      if (!node) return nullptr;
      const bool domain = std::string_view(path).starts_with(domains_path);
      const bool port = std::string_view(path).starts_with(ports_path);
      const char* folder = domain ? domains_path : port ? ports_path : forwards_path;
      if (!parse_object_path(std::string(folder) + '/' + node)) return nullptr;
      auto** interfaces = g_new0(GDBusInterfaceInfo*, 2);
      interfaces[0] = g_dbus_interface_info_ref(bus_interface(domain ? domain_interface
                                                              : port ? port_interface
                                                                     : forward_interface));
      return interfaces;
    },
    [](GDBusConnection*, const gchar*, const gchar*, const gchar*, const gchar*,
       gpointer* call_data, gpointer data) noexcept -> const GDBusInterfaceVTable* {
      *call_data = data;
      return &interface_vtable;
    },
    {}};

BusObjects::BusObjects(Model& model, Controller& controller, Limits limits)
    : model_(model),
      limits_(limits),
      announcer_(model, [this](const char* path, const char* interface, const char* signal,
                               const Ref<GVariant>& body) { emit(path, interface, signal, body); }),
      methods_(model, controller, [this] { announcer_.flush(); }),
      turns_(limits.waiting_of_one),
      count_(std::make_shared<Count>()),
      self_(std::make_shared<BusObjects*>(this)) {}

BusObjects::~BusObjects() = default;

Result<void> BusObjects::attach(GDBusConnection* connection, BusKind kind) {
  Link& link = links_.emplace_back(*this, connection, kind);
  GErrorOut error;
  for (const char* name : {manager_interface, object_manager_interface}) {
    const guint id = g_dbus_connection_register_object(
        connection, root_path, bus_interface(name), &interface_vtable, &link, nullptr, error.out());
    if (id != 0) link.objects_registered.push_back(id);
    if (error) break;
  }
  for (const char* path : {domains_path, forwards_path, ports_path}) {
    if (error) break;
    const guint id = g_dbus_connection_register_subtree(
        connection, path, &subtree_vtable, G_DBUS_SUBTREE_FLAGS_DISPATCH_TO_UNENUMERATED_NODES,
        &link, nullptr, error.out());
    if (id != 0) link.subtrees_registered.push_back(id);
  }
  if (error) {
    detach(connection);
    return Unexpected(ErrorCode::failed, "D-Bus objects: " + error.message());
  }
  announcer_.listen(true);
  return {};
}

void BusObjects::detach(GDBusConnection* connection) {
  if (const auto link = find(connection); link != links_.end() && link->cut())
    turns_.forget(connection);
  links_.remove_if([&](const Link& link) { return link.connection.get() == connection; });
  announcer_.listen(!links_.empty());
}

std::shared_ptr<void> BusObjects::ticket(const BusTurns::Caller& caller) {
  const auto known = count_->of_one.find(caller);
  if (known != count_->of_one.end() && known->second >= limits_.calls_of_one) return nullptr;
  if (count_->all >= limits_.calls) return nullptr;
  ++count_->of_one[caller];
  ++count_->all;
  return {count_.get(), [count = count_, caller](Count*) {
            const auto found = count->of_one.find(caller);
            if (--found->second == 0) count->of_one.erase(found);
            --count->all;
          }};
}

void BusObjects::handle(Link& link, GDBusMethodInvocation* invocation) {
  if (link.cut()) {
    g_object_unref(invocation);
    return;
  }
  auto answered = [self = std::weak_ptr(self_)](GDBusConnection* connection, std::size_t bytes) {
    if (const auto alive = self.lock()) (*alive)->answered(connection, bytes);
  };
  const auto call = std::make_shared<BusCall>(invocation, link.kind, std::move(answered));
  if (!turns_.add({link.connection.get(), call->sender()}, [this, call] { take_up(call); }))
    refuse(*call);
}

void BusObjects::take_up(const std::shared_ptr<BusCall>& call) {
  const auto link = find(call->connection());
  const bool gone = link == links_.end();
  if (!gone && link->cut()) return;
  if (auto held = ticket({call->connection(), call->sender()})) {
    call->hold(std::move(held));
  } else {
    refuse(*call);
    return;
  }
  const auto action = BusMethods::action(call->interface(), call->method());
  if (!action) {
    call->fail("org.freedesktop.DBus.Error.UnknownMethod", "no method " + call->method());
    return;
  }
  // An edit does not need somebody who waits for its answer.
  if (gone && *action == BusAction::read) return;
  authority_.check(call, *action, [call, self = std::weak_ptr(self_)](Result<void> allowed) {
    const auto alive = self.lock();
    if (!alive) return;
    if (!allowed) {
      call->fail(allowed.error());
      return;
    }
    BusObjects& objects = **alive;
    if (call->kind() == BusKind::system && call->method() == "GetManagedObjects" &&
        !objects.add_reader(call->connection(), call->sender())) {
      call->fail("org.freedesktop.DBus.Error.LimitsExceeded",
                 "too many programs watch the forwards; end one of them");
      return;
    }
    objects.methods_.run(call);
  });
}

std::list<BusObjects::Link>::iterator BusObjects::find(GDBusConnection* connection) {
  return std::find_if(links_.begin(), links_.end(),
                      [&](const Link& one) { return one.connection.get() == connection; });
}

bool BusObjects::add_reader(GDBusConnection* connection, const std::string& sender) {
  const auto link = find(connection);
  if (link == links_.end()) return false;
  if (link->readers.contains(sender)) return true;
  if (link->readers.size() >= limits_.readers) return false;
  const auto left = [](GDBusConnection*, const gchar* name, gpointer data) noexcept {
    auto& readers = static_cast<Link*>(data)->readers;
    const auto found = readers.find(name);
    if (found == readers.end()) return;
    const guint watch = found->second;
    readers.erase(found);
    g_bus_unwatch_name(watch);
  };
  link->readers[sender] = g_bus_watch_name_on_connection(
      connection, sender.c_str(), G_BUS_NAME_WATCHER_FLAGS_NONE, nullptr, left, &*link, nullptr);
  return true;
}

void BusObjects::answered(GDBusConnection* connection, std::size_t bytes) {
  const auto link = find(connection);
  if (link != links_.end() && link->backlog) link->backlog->sent(bytes);
}

void BusObjects::emit(const char* path, const char* interface, const char* signal,
                      const Ref<GVariant>& body) {
  const auto send = [&](const Link& link, const char* destination) {
    g_dbus_connection_emit_signal(link.connection.get(), destination, path, interface, signal,
                                  body.get(), nullptr);
  };
  for (Link& link : links_) {
    if (link.kind != BusKind::system) {
      if (link.cut()) continue;
      send(link, nullptr);
      if (link.backlog) link.backlog->sent(g_variant_get_size(body.get()));
      continue;
    }
    for (const auto& [reader, watch] : link.readers)
      send(link, reader.c_str());
  }
}

gchar** BusObjects::enumerate(Link& link, const std::string& sender,
                              const std::string& parent) const {
  GPtrArray* nodes = g_ptr_array_new();
  // Introspection is not authorized: without this it would show ids to everybody.
  if (link.cut() || (link.kind == BusKind::system && !link.readers.contains(sender))) {
    g_ptr_array_add(nodes, nullptr);
    return reinterpret_cast<gchar**>(g_ptr_array_free(nodes, FALSE));
  }
  std::size_t bytes = 0;
  const auto add = [&](const std::string& path) {
    bytes += path.size();
    g_ptr_array_add(nodes, g_strdup(path.c_str() + parent.size() + 1));
  };
  for (const DomainView& domain : model_.domains()) {
    if (parent == domains_path) {
      add(domain_path(domain.uuid));
      continue;
    }
    if (parent == ports_path) {
      for (const PortView& port : model_.ports(domain.uuid))
        add(port_path(port.uuid, port.id));
      continue;
    }
    for (const ForwardView& forward : model_.forwards(domain.uuid))
      add(forward_path(forward.uuid, forward.id));
  }
  if (link.backlog) link.backlog->sending(bytes);
  g_ptr_array_add(nodes, nullptr);
  return reinterpret_cast<gchar**>(g_ptr_array_free(nodes, FALSE));
}

}  // namespace vf
