// SPDX-License-Identifier: LGPL-2.1-or-later

#include "daemon/bus_driver.h"

#include <unistd.h>

#include <string>
#include <string_view>

#include "glib/object_path.h"

namespace vf {
namespace {

constexpr char driver_name[] = "org.freedesktop.DBus";
constexpr char driver_path[] = "/org/freedesktop/DBus";
constexpr char own_name[] = ":1.0";
constexpr char peer_name[] = ":1.1";
constexpr guint already_running = 2;

constexpr char driver_xml[] = R"(
<node>
  <interface name="org.freedesktop.DBus">
    <method name="Hello"><arg type="s" direction="out"/></method>
    <method name="GetId"><arg type="s" direction="out"/></method>
    <method name="ListNames"><arg type="as" direction="out"/></method>
    <method name="ListActivatableNames"><arg type="as" direction="out"/></method>
    <method name="AddMatch"><arg type="s" direction="in"/></method>
    <method name="RemoveMatch"><arg type="s" direction="in"/></method>
    <method name="NameHasOwner">
      <arg type="s" direction="in"/><arg type="b" direction="out"/>
    </method>
    <method name="GetNameOwner">
      <arg type="s" direction="in"/><arg type="s" direction="out"/>
    </method>
    <method name="GetConnectionUnixUser">
      <arg type="s" direction="in"/><arg type="u" direction="out"/>
    </method>
    <method name="GetConnectionUnixProcessID">
      <arg type="s" direction="in"/><arg type="u" direction="out"/>
    </method>
    <method name="StartServiceByName">
      <arg type="s" direction="in"/><arg type="u" direction="in"/><arg type="u" direction="out"/>
    </method>
    <method name="RequestName">
      <arg type="s" direction="in"/><arg type="u" direction="in"/><arg type="u" direction="out"/>
    </method>
    <method name="ReleaseName">
      <arg type="s" direction="in"/><arg type="u" direction="out"/>
    </method>
  </interface>
</node>)";

GDBusInterfaceInfo* driver_interface() {
  static const auto node = adopt(g_dbus_node_info_new_for_xml(driver_xml, nullptr));
  return g_dbus_node_info_lookup_interface(node.get(), driver_name);
}

const char* owner_of(std::string_view name) {
  if (name == bus_name || name == own_name) return own_name;
  if (name == peer_name) return peer_name;
  return name == driver_name ? driver_name : nullptr;
}

GVariant* names(std::initializer_list<const char*> list) {
  GVariantBuilder builder;
  g_variant_builder_init(&builder, G_VARIANT_TYPE_STRING_ARRAY);
  for (const char* name : list)
    g_variant_builder_add(&builder, "s", name);
  return g_variant_new("(as)", &builder);
}

struct Identity {
  guint32 uid;
  guint32 pid;
};

Identity identity_of(GDBusConnection* connection, std::string_view owner) {
  GCredentials* peer = g_dbus_connection_get_peer_credentials(connection);
  if (owner != peer_name || !peer) return {geteuid(), static_cast<guint32>(getpid())};
  return {g_credentials_get_unix_user(peer, nullptr),
          static_cast<guint32>(g_credentials_get_unix_pid(peer, nullptr))};
}

void handle_call(GDBusConnection* connection, const gchar*, const gchar*, const gchar*,
                 const gchar* method_name, GVariant* parameters, GDBusMethodInvocation* invocation,
                 gpointer) noexcept {
  const std::string_view method = method_name;
  const auto answer = [&](GVariant* value) {
    g_dbus_method_invocation_return_value(invocation, value);
  };
  const auto fail = [&](const char* error, const std::string& text) {
    g_dbus_method_invocation_return_dbus_error(invocation, error, text.c_str());
  };
  if (method == "Hello") return answer(g_variant_new("(s)", peer_name));
  if (method == "GetId")
    return answer(g_variant_new("(s)", g_dbus_connection_get_guid(connection)));
  if (method == "ListNames") return answer(names({driver_name, own_name, peer_name, bus_name}));
  if (method == "ListActivatableNames") return answer(names({driver_name, bus_name}));
  if (method == "AddMatch" || method == "RemoveMatch") return answer(nullptr);
  if (method == "RequestName" || method == "ReleaseName")
    return fail("org.freedesktop.DBus.Error.AccessDenied", "this is no bus: nobody can own a name");

  const gchar* name = nullptr;
  g_variant_get_child(parameters, 0, "&s", &name);
  const char* owner = owner_of(name);
  if (method == "NameHasOwner") return answer(g_variant_new("(b)", owner != nullptr));
  if (!owner)
    return fail("org.freedesktop.DBus.Error.NameHasNoOwner",
                std::string("this is no bus: there is no ") + name + " here");
  if (method == "GetNameOwner") return answer(g_variant_new("(s)", owner));
  if (method == "StartServiceByName") return answer(g_variant_new("(u)", already_running));
  const Identity identity = identity_of(connection, owner);
  answer(g_variant_new("(u)", method == "GetConnectionUnixUser" ? identity.uid : identity.pid));
}

// A bus client drops signals whose sender it does not know. Runs on GDBus's thread.
GDBusMessage* name_sender(GDBusConnection*, GDBusMessage* message, gboolean incoming,
                          gpointer) noexcept {
  if (incoming || g_dbus_message_get_sender(message)) return message;
  if (g_dbus_message_get_locked(message)) {
    GDBusMessage* copy = g_dbus_message_copy(message, nullptr);
    if (!copy) return message;
    g_object_unref(message);
    message = copy;
  }
  g_dbus_message_set_sender(message, own_name);
  return message;
}

const GDBusInterfaceVTable vtable = {handle_call, nullptr, nullptr, {}};

}  // namespace

std::unique_ptr<BusDriver> BusDriver::attach(GDBusConnection* connection) {
  const guint object = g_dbus_connection_register_object(
      connection, driver_path, driver_interface(), &vtable, nullptr, nullptr, nullptr);
  if (object == 0) return nullptr;
  return std::unique_ptr<BusDriver>(new BusDriver(connection, object));
}

BusDriver::BusDriver(GDBusConnection* connection, guint object)
    : connection_(borrow(connection)),
      object_(object),
      filter_(g_dbus_connection_add_filter(connection, name_sender, nullptr, nullptr)) {}

BusDriver::~BusDriver() {
  g_dbus_connection_remove_filter(connection_.get(), filter_);
  g_dbus_connection_unregister_object(connection_.get(), object_);
}

}  // namespace vf
